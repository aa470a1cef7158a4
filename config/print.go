package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes all settings as they are in force, a line each: name, value,
// where it came from. Secrets are redacted; a setting without a value shows -.
func (c Config) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range c.Values() {
		if v.Value == "" {
			v.Value = "-"
		}
		if _, err := fmt.Fprintf(tw, "%s\t%s\t%s\n", v.Name, v.Value, v.Source); err != nil {
			return fmt.Errorf("print settings: %w", err)
		}
	}
	return tw.Flush()
}

// Markdown returns docs/configuration.md. A test keeps the file in step.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownHead)
	for _, s := range Settings() {
		name, def := "`"+s.Name+"`", "-"
		if s.Secret {
			name += " (`_FILE`)"
		}
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| %s | `--%s` | %s | %s |\n", name, flagOf(s), def, s.Doc)
	}
	return b.String()
}

// flagOf returns the one flag that the table shows for a setting.
func flagOf(s Setting) string {
	if s.Secret && s.Name != redisURL {
		return FlagName(s.Name + "_FILE")
	}
	return FlagName(s.Name)
}

const markdownHead = "# Configuration\n\n" +
	"<!-- Made from config.Settings: go test ./config -run TestDocs -update -->\n\n" +
	"Settings come from flags, environment variables and an optional YAML file (`--config FILE`). " +
	"Flags win over the environment, the environment over the file. An empty value counts as not set.\n\n" +
	"The file has the same names in lower case; the prefix may be left out, and a list may be a YAML list:\n\n" +
	"```yaml\nsealpost_redis_url_file: /run/secrets/redis-url\nslots: 128\nallow_net: [10.1.0.0/16, \"mail.lan:587\"]\n```\n\n" +
	"A secret can be given as `NAME_FILE`: the path of a file that holds it. Setting both is an error. " +
	"As a flag a secret has only this form, since arguments can be read by others.\n\n" +
	"`sealpost config check` reports every mistake at once, by name and rule and never by value; " +
	"names that are no settings are mistakes too. `sealpost config print` shows what is in force and where it came from.\n\n" +
	"| variable | flag | default | meaning |\n|---|---|---|---|\n"
