// Package child prepares what a program needs that runs as an analysis: the
// variables of its process, and a writer that hides the values in what it
// prints. `sealpost run` uses it, and the workers that start scripts.
package child

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Entry is one key of an environment as the API gives it.
type Entry struct {
	Key   string        `json:"key"`
	Value redact.String `json:"value"`
}

// keptNames change how programs find code, load it or connect. A key of an
// environment never becomes such a variable: whoever may create a secret or tag
// one must not decide what the machine of the analysis runs or trusts. Case
// does not count, because http_proxy works as HTTP_PROXY does.
//
// The list is of shells, loaders, TLS libraries and the runtimes of scripts. It
// is not complete and cannot be: it keeps a mistake or a quiet change from
// turning into code; a policy decides whom to trust.
var keptNames = []string{
	// Shells and where things are.
	"PATH", "IFS", "ENV", "CDPATH", "GLOBIGNORE", "PS4", "PROMPT_COMMAND", "SHELLOPTS", "HOME", "SHELL", "TMPDIR", "ZDOTDIR",
	"EDITOR", "VISUAL", "PAGER", "BROWSER", "LESSOPEN", "LESSCLOSE", "TERMINFO", "TERMINFO_DIRS",
	// The loader and the C library.
	"GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "GETCONF_DIR",
	// Whom TLS trusts, and where it writes its keys.
	"SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "OPENSSL_CONF", "OPENSSL_CONF_INCLUDE", "OPENSSL_ENGINES", "OPENSSL_MODULES",
	"CURL_CA_BUNDLE", "CURL_HOME", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY",
	// Node, Deno, Bun.
	"NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "NODE_USE_ENV_PROXY", "NODE_ICU_DATA",
	"NODE_V8_COVERAGE", "NODE_REPL_EXTERNAL_MODULE", "NODE_COMPILE_CACHE", "DENO_DIR", "DENO_CERT", "DENO_TLS_CA_STORE", "BUN_OPTIONS",
	// Java, Ruby, PHP, Lua, Go, R.
	"CLASSPATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "JDK_JAVA_OPTIONS", "MAVEN_OPTS", "GRADLE_OPTS",
	"RUBYOPT", "RUBYLIB", "GEM_HOME", "GEM_PATH", "BUNDLE_GEMFILE", "PHPRC", "PHP_INI_SCAN_DIR", "LUA_INIT", "LUA_PATH", "LUA_CPATH",
	"GODEBUG", "GOTRACEBACK", "GOFLAGS", "GOPROXY", "GOROOT", "GOPATH", "R_PROFILE", "R_PROFILE_USER", "R_ENVIRON", "R_ENVIRON_USER",
	// Programs that scripts often start.
	"GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_PROXY_COMMAND", "GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_EDITOR", "GIT_PAGER",
	"SSH_ASKPASS", "SUDO_ASKPASS", "VIRTUAL_ENV", "DOCKER_HOST", "KUBECONFIG",
}

// keptBeginnings and keptEnds are families of such names, and the names that
// clients read to find this server.
var (
	keptBeginnings = []string{"LD_", "DYLD_", "PYTHON", "PERL", "BASH_", "MALLOC_", "DOTNET_", "CORECLR_", "COMPLUS_",
		"NPM_CONFIG_", "PIP_", "GIT_CONFIG", "LUA_INIT_", "T_ANALYSIS_", "TAGOIO_", "SEALPOST_"}
	keptEnds = []string{"_PROXY"}
)

// kept reports whether a key must not become a variable.
func kept(name string) bool {
	name = strings.ToUpper(name)
	return slices.Contains(keptNames, name) ||
		slices.ContainsFunc(keptBeginnings, func(s string) bool { return strings.HasPrefix(name, s) }) ||
		slices.ContainsFunc(keptEnds, func(s string) bool { return strings.HasSuffix(name, s) })
}

// Variables returns the variables of the child: those of environ but for
// Sealpost's own settings, which hold a token; then what the SDKs read; then
// each key of the environment that may be a variable. The others are named in
// left, with the reason; the child finds them in T_ANALYSIS_ENV.
func Variables(environ []string, who Run) (vars, left []string, err error) {
	taken := map[string]bool{}
	own := map[string]string{}
	for _, e := range who.Env {
		value := e.Value.Reveal()
		switch {
		case !validVariable(e.Key):
			left = append(left, fmt.Sprintf("%q is no name of a variable", e.Key))
		case kept(e.Key):
			left = append(left, e.Key+" changes how programs load or connect")
		case strings.ContainsRune(value, 0):
			left = append(left, e.Key+" has a NUL in its value")
		default:
			own[e.Key], taken[e.Key] = value, true
		}
	}
	sdk, err := who.sdkVariables()
	if err != nil {
		return nil, nil, err
	}
	for name := range sdk {
		taken[name] = true
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !taken[name] && !strings.HasPrefix(strings.ToUpper(name), "SEALPOST_") {
			vars = append(vars, entry)
		}
	}
	for _, set := range []map[string]string{sdk, own} {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			vars = append(vars, name+"="+set[name])
		}
	}
	return vars, left, nil
}

// Run is what a child is told.
type Run struct {
	ID    string        // of the analysis
	Base  string        // URL of the API
	Token redact.String // of the analysis
	Env   []Entry
	Data  string // JSON array
}

// sdkVariables are those that the public SDKs read: with T_ANALYSIS_CONTEXT set
// they call the analysis once and do not listen for events.
func (r Run) sdkVariables() (map[string]string, error) {
	type pair struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	list := make([]pair, 0, len(r.Env))
	for _, e := range r.Env {
		list = append(list, pair{e.Key, e.Value.Reveal()})
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode environment: %w", err)
	}
	return map[string]string{
		"T_ANALYSIS_CONTEXT": "sealpost", "T_ANALYSIS_ID": r.ID, "T_ANALYSIS_TOKEN": r.Token.Reveal(),
		"T_ANALYSIS_ENV": string(text), "T_ANALYSIS_DATA": r.Data,
		"TAGOIO_API": r.Base, "TAGOIO_SSE": r.Base,
	}, nil
}
