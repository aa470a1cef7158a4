package drill

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a program that was started to be killed.
type process struct {
	cmd  *exec.Cmd
	log  string
	ops  string // of a worker: the URL of its listener for operators
	done chan struct{}
}

// start starts cmd in a process group of its own, so that Ctrl-C reaches only
// this program, with its output appended to a file.
func start(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the output of %s: %w", cmd.Path, err)
	}
	defer out.Close() // the child has its own copy
	cmd.Stdout, cmd.Stderr = out, out
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is seen by running
	}()
	return p, nil
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as kill -9 does and waits until it is gone.
func (p *process) kill() error {
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.cmd.Path, err)
	}
	<-p.done
	return nil
}

// stop ends the process as an orchestrator does, by SIGTERM, and waits until it
// has drained. It must end by itself and well.
func (p *process) stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		return fmt.Errorf("a worker has not ended %v after SIGTERM:\n%s", limit, p.tail())
	}
	if state := p.cmd.ProcessState; !state.Success() {
		return fmt.Errorf("a worker ended with %v after SIGTERM:\n%s", state, p.tail())
	}
	return nil
}

// tail is the end of what the process wrote.
func (p *process) tail() string {
	const most = 2000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "" // it is only a help
	}
	return string(text[max(len(text)-most, 0):])
}

// environ is the environment of a child: ours without settings of Sealpost, and
// with these.
func environ(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SEALPOST_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// freePort returns a port of this machine that was free just now.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// await asks check until it is nil, for at most limit.
func await(limit time.Duration, check func() error) error {
	const each = 20 * time.Millisecond
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(each) {
		if err = check(); err == nil {
			return nil
		}
	}
	return err
}
