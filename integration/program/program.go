// Package program builds the sealpost binary and runs it as a user would: as
// processes with environment variables, files and arguments, spoken to by its
// command line and its HTTP listeners, and by nothing else.
package program

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/rand"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue/queuetest"
)

const (
	buildLimit = 8 * time.Minute // a cold cache on two busy cores
	startLimit = 30 * time.Second
	callLimit  = 3 * time.Minute // one command: 10,000 jobs take a few seconds
)

// Build builds the program of the module at root into dir, as "make build"
// does, and returns the path of the binary.
func Build(root, dir string) (string, error) {
	binary := filepath.Join(dir, "sealpost")
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/sealpost")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sealpost: %w\n%s", err, out)
	}
	return binary, nil
}

// Site is one installation of Sealpost: a binary, a master key in a file, and
// the Redis they work on.
type Site struct {
	// Binary is the program, Dir where the site keeps its files.
	Binary, Dir string
	// RedisURL is where all processes of the site find Redis.
	RedisURL string
	// KeyFile holds the master key; New makes it. "" for dev mode, which has none.
	KeyFile string
	// API is the base URL that commands use, "" before the first Serve of one.
	API string
	// Token is the admin token that commands use, "" before Init.
	Token string

	served int
}

// New prepares a site below dir with a new master key, and does not touch
// Redis yet.
func New(binary, dir, redisURL string) (*Site, error) {
	s := &Site{Binary: binary, Dir: dir, RedisURL: redisURL, KeyFile: filepath.Join(dir, "master.key")}
	return s, WriteKey(s.KeyFile)
}

// WriteKey writes a new random master key to a file that only its owner reads.
func WriteKey(path string) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a master key: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(key) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	return nil
}

// Init makes the keyring and an admin token.
func (s *Site) Init() error {
	if r := s.Run("", "init"); r.Code != 0 {
		return r.errorf("init")
	}
	r := s.Run("", "token", "create", "--kind", "admin", "--name", "integration")
	if r.Code != 0 {
		return r.errorf("token create")
	}
	s.Token = strings.TrimSpace(r.Stdout)
	return nil
}

// Server is one running "sealpost serve".
type Server struct {
	*peers.Process
	// API and Ops are the base URLs of its listeners. A process without the
	// role api has no API.
	API, Ops string
}

// Serve starts "sealpost serve" on free ports and waits until it is alive,
// not until it is ready. env adds to its environment: SEALPOST_LEASE=5s.
// Commands go to the first server that has an API.
func (s *Site) Serve(env ...string) (*Server, error) {
	srv, err := s.Launch(env...)
	if err != nil {
		return nil, err
	}
	if err := peers.Wait(startLimit, "sealpost serve", srv.alive); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, srv.Kill()), srv.LogTail())
	}
	if s.API == "" && !slices.Contains(env, "SEALPOST_ROLES=worker") {
		s.API = srv.API
	}
	return srv, nil
}

// Launch is Serve for a process that may end at any moment: it waits for
// nothing, and no command goes there by itself.
func (s *Site) Launch(env ...string) (*Server, error) {
	addrs := [2]string{}
	for i := range addrs {
		port, err := queuetest.FreePort()
		if err != nil {
			return nil, err
		}
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	srv := &Server{API: "http://" + addrs[0], Ops: "http://" + addrs[1]}
	cmd := exec.Command(s.Binary, "serve")
	cmd.Dir = s.Dir
	cmd.Env = append(s.environ(),
		"SEALPOST_API_ADDR="+addrs[0], "SEALPOST_OPS_ADDR="+addrs[1],
		// All peers of these tests are on this machine.
		"SEALPOST_ALLOW_NET=127.0.0.0/8")
	cmd.Env = append(cmd.Env, env...)
	s.served++
	var err error
	srv.Process, err = peers.StartProcess(cmd, filepath.Join(s.Dir, fmt.Sprintf("serve-%d.log", s.served)))
	return srv, err
}

// alive returns nil when the process answers; it gives up at once when it has
// ended.
func (srv *Server) alive() error {
	if !srv.Running() {
		return fmt.Errorf("sealpost serve has ended: %w", peers.ErrHopeless)
	}
	status, _, err := srv.Get("/livez")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("/livez answers %d", status)
	}
	return nil
}

// Ready returns nil when the process says that it is ready for work.
func (srv *Server) Ready() error {
	status, text, err := srv.Get("/readyz?verbose")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("/readyz answers %d: %s", status, text)
	}
	return nil
}

// Get asks the ops listener.
func (srv *Server) Get(path string) (status int, text string, err error) {
	c := http.Client{Timeout: 10 * time.Second}
	resp, err := c.Get(srv.Ops + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Result is what a command has printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int // -1 if it could not run or was killed

	args []string
}

// errorf makes an error of a command that should have worked.
func (r Result) errorf(what string) error {
	return fmt.Errorf("%s: exit %d: %s%s", what, r.Code, r.Stdout, r.Stderr)
}

// Err is nil if the command ended with 0, and else says what it printed.
func (r Result) Err() error {
	if r.Code == 0 {
		return nil
	}
	return r.errorf("sealpost " + strings.Join(r.args, " "))
}

// Run runs one command with stdin and the site's Redis, key, API and token.
func (s *Site) Run(stdin string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Dir, cmd.Env = s.Dir, s.environ()
	if s.API != "" {
		cmd.Env = append(cmd.Env, "SEALPOST_URL="+s.API)
	}
	if s.Token != "" {
		cmd.Env = append(cmd.Env, "SEALPOST_TOKEN="+s.Token)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	r := Result{args: args}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		errs.WriteString(err.Error())
		r.Code = -1
	} else {
		r.Code = cmd.ProcessState.ExitCode()
	}
	r.Stdout, r.Stderr = out.String(), errs.String()
	return r
}

// JSON runs a command with -o json and decodes what it prints into v.
func (s *Site) JSON(v any, args ...string) error {
	r := s.Run("", append(args, "-o", "json")...)
	if err := r.Err(); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(r.Stdout), v); err != nil {
		return fmt.Errorf("decode the output of sealpost %s: %w: %s", strings.Join(args, " "), err, r.Stdout)
	}
	return nil
}

// environ is the environment of every process of the site. Nothing of the
// test's own environment that concerns Sealpost goes in.
func (s *Site) environ() []string {
	env := []string{"SEALPOST_REDIS_URL=" + s.RedisURL, "NO_COLOR=1"}
	if s.KeyFile != "" {
		env = append(env, "SEALPOST_MASTER_KEY_FILE="+s.KeyFile)
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SEALPOST_") {
			env = append(env, v)
		}
	}
	return env
}
