package config

import (
	"maps"
	"slices"
	"strings"
)

const (
	prefix   = "SEALPOST_"
	redisURL = "SEALPOST_REDIS_URL"
)

// Flag is a setting as a flag of the command line.
type Flag struct {
	Name    string // without dashes in front: "redis-url"
	Default string
	Usage   string
}

// Flags returns the flags for all settings. A secret has only its -file form;
// redis-url is there too, and Load refuses one that holds a login.
func Flags() []Flag {
	var list []Flag
	for _, s := range Settings() {
		usage := strings.ReplaceAll(s.Doc, "`", "")
		if s.Secret {
			list = append(list, Flag{Name: FlagName(s.Name + "_FILE"), Usage: "file with the value of " + s.Name})
		}
		if !s.Secret || s.Name == redisURL {
			list = append(list, Flag{Name: FlagName(s.Name), Default: s.Default, Usage: usage})
		}
	}
	return list
}

// FlagName returns the flag of a variable: "redis-url" of SEALPOST_REDIS_URL.
func FlagName(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, prefix)), "_", "-")
}

// VariableName returns the variable of a flag or of a key of the file, which is
// the same name in lower case; the prefix may be left out.
func VariableName(name string) string {
	upper := strings.ReplaceAll(strings.ToUpper(name), "-", "_")
	return prefix + strings.TrimPrefix(upper, prefix)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// editDistance counts the letters to insert, remove or change (Levenshtein).
// Names are short, so two rows will do.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, corner+1, row[j]+1)
		}
	}
	return row[len(b)]
}
