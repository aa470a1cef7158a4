package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Sources is where settings come from, the strongest first.
type Sources struct {
	Flags   map[string]string // as [FlagName] or the variable's name -> value; only flags that were given
	Environ []string          // as os.Environ returns it; only SEALPOST_* is read
	File    string            // path of a YAML file; "" for none
}

// Where a value came from, as `config print` shows it.
const (
	fromFlag    = "flag"
	fromEnv     = "environment"
	fromFile    = "file"
	fromDefault = "default"
)

// Mistake is one setting that breaks a rule. It never holds the value.
type Mistake struct {
	Name   string // of the setting, or of the file
	Source string // "flag", "environment", "file", "default"; "" when it is about several
	Rule   string // what is wanted instead
}

// Error names the setting, where it is from, and what is wanted; never the value.
func (m *Mistake) Error() string {
	if m.Source == "" {
		return m.Name + ": " + m.Rule
	}
	return m.Name + " (" + m.Source + "): " + m.Rule
}

// maxSecretFile bounds what a _FILE may hold. A Tink keyset has some hundred bytes a key.
const maxSecretFile = 64 << 10

// Load reads the settings. The error joins a [*Mistake] for each thing that is
// wrong; the Config is then of no use.
func Load(from Sources) (Config, error) {
	l := loader{
		settings: Settings(),
		given:    map[string]map[string]string{fromFlag: {}, fromEnv: {}, fromFile: {}},
		config:   Config{origins: map[string]string{}},
	}
	l.flags(from.Flags)
	l.environ(from.Environ)
	l.file(from.File)
	for _, s := range l.settings {
		l.apply(s)
	}
	if len(l.mistakes) == 0 {
		l.together()
	}
	return l.config, errors.Join(l.mistakes...)
}

type loader struct {
	settings []Setting
	given    map[string]map[string]string // source -> name -> value
	config   Config
	mistakes []error
}

func (l *loader) wrong(name, source, rule string) {
	l.mistakes = append(l.mistakes, &Mistake{Name: name, Source: source, Rule: rule})
}

// put notes a value if the name is a setting's or the _FILE form of a secret's.
func (l *loader) put(source, name, value string) {
	if !l.known(name) {
		l.wrong(name, source, "is no setting"+l.meant(name))
		return
	}
	if value != "" {
		l.given[source][name] = value
	}
}

func (l *loader) known(name string) bool { return slices.Contains(l.names(), name) }

func (l *loader) names() []string {
	var names []string
	for _, s := range l.settings {
		names = append(names, s.Name)
		if s.Secret {
			names = append(names, s.Name+"_FILE")
		}
	}
	return names
}

// meant proposes the setting whose name is closest: a third of its letters may
// be wrong, or its end missing.
func (l *loader) meant(name string) string {
	short := strings.TrimPrefix(name, prefix)
	best, distance := "", max(len(short)/3, 1)+1
	for _, known := range l.names() {
		d := editDistance(short, strings.TrimPrefix(known, prefix))
		if len(short) > 2 && strings.HasPrefix(known, name) {
			d = 1
		}
		if d < distance {
			best, distance = known, d
		}
	}
	if best == "" {
		return "; docs/configuration.md lists them"
	}
	return "; did you mean " + best + "?"
}

func (l *loader) flags(flags map[string]string) {
	for _, name := range sortedKeys(flags) {
		l.put(fromFlag, VariableName(name), flags[name])
	}
}

func (l *loader) environ(environ []string) {
	environ = slices.Sorted(slices.Values(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && !foreign(name, value) {
			l.put(fromEnv, name, value)
		}
	}
}

// foreign reports variables that are not meant for us: those of our own tests,
// and those that Kubernetes sets in every pod when a Service is called sealpost
// or sealpost-something (SEALPOST_PORT=tcp://10.0.0.1:8080 and so on).
func foreign(name, value string) bool {
	if strings.HasPrefix(name, prefix+"TEST_") || name == crashpoint.Variable {
		return true
	}
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") {
		return true
	}
	for _, protocol := range []string{"TCP", "UDP", "SCTP"} {
		if strings.HasSuffix(name, "_PORT") && strings.HasPrefix(value, strings.ToLower(protocol)+"://") {
			return true
		}
		if strings.Contains(name, "_PORT_") && (strings.HasSuffix(name, "_"+protocol) || strings.Contains(name, "_"+protocol+"_")) {
			return true
		}
	}
	return false
}

// apply takes the strongest value that was given and checks it.
func (l *loader) apply(s Setting) {
	for _, source := range []string{fromFlag, fromEnv, fromFile} {
		value, ok := l.given[source][s.Name]
		path, inFile := l.given[source][s.Name+"_FILE"]
		switch {
		case ok && inFile:
			l.wrong(s.Name, source, "set either this or "+s.Name+"_FILE, not both")
			return
		case inFile:
			text, err := readSecret(path)
			if err != nil {
				l.wrong(s.Name+"_FILE", source, err.Error())
				return
			}
			value = text
		case !ok:
			continue
		}
		l.set(s, source, value)
		return
	}
	if s.Default != "" {
		l.set(s, fromDefault, s.Default)
		return
	}
	l.config.origins[s.Name] = fromDefault
}

func (l *loader) set(s Setting, source, value string) {
	l.config.origins[s.Name] = source
	if s.Name == redisURL && source == fromFlag && strings.Contains(value, "@") {
		l.wrong(s.Name, source, "a login does not belong in arguments, which others can read; use "+s.Name+"_FILE")
		return
	}
	if err := s.set(&l.config, strings.TrimSpace(value)); err != nil {
		l.wrong(s.Name, source, err.Error())
	}
}

// together checks what several settings must agree on.
func (l *loader) together() {
	c := &l.config
	if (c.APITLSCert == "") != (c.APITLSKey == "") {
		l.wrong("SEALPOST_API_TLS_CERT", "", "set it and SEALPOST_API_TLS_KEY, or neither")
	}
	if c.APIAddr == c.OpsAddr && !strings.HasSuffix(c.APIAddr, ":0") {
		l.wrong("SEALPOST_OPS_ADDR", "", "want another address than SEALPOST_API_ADDR, or off")
	}
	for _, u := range []struct{ name, base string }{{"SEALPOST_SENDGRID_URL", c.SendgridURL}, {"SEALPOST_TWILIO_URL", c.TwilioURL}} {
		if strings.HasPrefix(strings.ToLower(u.base), "http:") && c.AllowNet == "" {
			l.wrong(u.name, "", "want https; http is for an address that SEALPOST_ALLOW_NET names")
		}
	}
}

// readSecret returns the text of a _FILE without the line break at its end.
// Its errors name no path: a value may have been put where the path belongs.
func readSecret(path string) (string, error) {
	b, err := readBounded(path, maxSecretFile)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", rule("the file is empty")
	}
	return text, nil
}

// readBounded reads at most limit bytes. Pipes are fine: a shell's <(command)
// hands over a secret without a file.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, rule("there is no such file")
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the file may not be read by user id %d", os.Getuid())
	case err != nil:
		return nil, rule("the file cannot be opened")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, rule("the file cannot be read; want a file, not a directory")
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the file has more than %d bytes", limit)
	}
	return b, nil
}

// Value is a setting as it is in force.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // "[redacted]" for a secret that is set
	Source string `json:"source"` // "flag", "environment", "file" or "default"
}

// Values returns all settings as they are in force, in the order of the docs.
func (c Config) Values() []Value {
	var list []Value
	for _, s := range Settings() {
		v := Value{Name: s.Name, Value: s.get(&c), Source: c.origins[s.Name]}
		if s.Secret && v.Value != "" && s.Name != redisURL {
			v.Value = redact.Placeholder // whatever get gave
		}
		list = append(list, v)
	}
	return list
}
