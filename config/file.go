package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFile = 1 << 20 // bytes of the YAML file

// file reads the YAML file: one mapping of names to scalars or lists of them.
// It is walked as nodes and not decoded, because the decoder's errors quote
// what they could not decode.
func (l *loader) file(path string) {
	if path == "" {
		return
	}
	b, err := readBounded(path, maxFile)
	if err != nil {
		l.wrong("--config", fromFlag, err.Error())
		return
	}
	root, err := parseYAML(b)
	if err != nil {
		l.wrong("--config", fromFile, err.Error())
		return
	}
	seen := map[string]bool{}
	for i := 0; root != nil && i+1 < len(root.Content); i += 2 {
		l.entry(root.Content[i], root.Content[i+1], seen)
	}
}

func (l *loader) entry(key, value *yaml.Node, seen map[string]bool) {
	if !keyPattern.MatchString(key.Value) {
		l.wrong("--config", fromFile, fmt.Sprintf("line %d: want the name of a setting in lower case", key.Line))
		return
	}
	name := VariableName(key.Value)
	if seen[name] {
		l.wrong(name, fromFile, fmt.Sprintf("line %d: set twice", key.Line))
		return
	}
	seen[name] = true
	text, ok := scalar(value)
	if !ok {
		l.wrong(name, fromFile, fmt.Sprintf("line %d: want one value, or a list of values", value.Line))
		return
	}
	l.put(fromFile, name, text)
}

// keyPattern is a setting's name in lower case. Other keys are not even shown.
var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// parseYAML returns the mapping of the one document in b, nil when b is empty.
func parseYAML(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if !errors.Is(dec.Decode(&more), io.EOF) {
		return nil, rule("want one YAML document")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, rule("want a YAML mapping of settings to values")
	}
	return doc.Content[0], nil
}

// yamlError keeps the line of a syntax error and drops the words, which can
// quote the file.
func yamlError(err error) error {
	line := linePattern.FindString(err.Error())
	if line == "" {
		return rule("not valid YAML")
	}
	return fmt.Errorf("%s: not valid YAML", line)
}

var linePattern = regexp.MustCompile(`line [0-9]+`)

// scalar returns a value as the text that would stand in the environment.
func scalar(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", true
		}
		return n.Value, true
	case yaml.SequenceNode:
		var list []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", false
			}
			list = append(list, item.Value)
		}
		return strings.Join(list, ","), true
	}
	return "", false
}
