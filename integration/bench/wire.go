package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"
)

// request asks a side for one piece of work. The sides in JavaScript (peers/) get
// the same.
type request struct {
	Op          string    `json:"op"`
	Redis       string    `json:"redis,omitempty"` // host:port
	Cluster     []string  `json:"cluster,omitempty"`
	Jobs        int       `json:"jobs,omitempty"`
	Concurrency int       `json:"concurrency,omitempty"`
	Partitions  int       `json:"partitions,omitempty"`
	Rate        int       `json:"rate,omitempty"` // jobs a second
	Warm        int       `json:"warm,omitempty"` // jobs before those that count
	Payload     string    `json:"payload,omitempty"`
	Mail        *mailbox  `json:"mail,omitempty"`
	SQS         *sqsQueue `json:"sqs,omitempty"`
	Cache       string    `json:"cache,omitempty"` // of packages
	Dir         string    `json:"dir,omitempty"`   // for a log
}

// mailbox is where mails go.
type mailbox struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
	CA       string `json:"ca"` // PEM
}

// sqsQueue is where messages go.
type sqsQueue struct {
	URL, Endpoint, Region, ID, Key string
}

// answer is what came of a request.
type answer struct {
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`             // seconds of processor time
	Total   float64 `json:"total,omitempty"` // the same since the side began; an op may put that of its child there
	Span    float64 `json:"span,omitempty"`  // seconds from the first arrival to the last
	RSS     float64 `json:"rss"`             // MB, the highest so far
	P50     float64 `json:"p50,omitempty"`
	P99     float64 `json:"p99,omitempty"`
	Count   int     `json:"count,omitempty"`

	Mail *mailbox  `json:"mail,omitempty"` // of a sink that has started
	SQS  *sqsQueue `json:"sqs,omitempty"`

	finish func() // ends what still runs; it is not measured
}

// op does one kind of request.
type op func(ctx context.Context, r request) (answer, error)

// serve is the life of a side: it answers one request after the other until its
// stdin ends. profiles is a directory for its CPU profiles, "" for none.
func serve(ctx context.Context, name, profiles string) error {
	ops := sidesInGo()[name]
	if ops == nil {
		return fmt.Errorf("no side is called %q", name)
	}
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		a, err := profiled(profiles, name+"-"+r.Op, func() answer { return measured(ctx, ops[r.Op], r) })
		if err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

// profiled writes a CPU profile of do into dir, unless that is "".
func profiled(dir, name string, do func() answer) (answer, error) {
	if dir == "" {
		return do(), nil
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", name, time.Now().UnixMilli())))
	if err != nil {
		return answer{}, fmt.Errorf("make a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return answer{}, fmt.Errorf("make a profile: %w", err)
	}
	a := do()
	pprof.StopCPUProfile()
	return a, file.Close()
}

// measured does one request and says what it took.
func measured(ctx context.Context, do op, r request) answer {
	if do == nil {
		return answer{Error: "this side cannot " + r.Op}
	}
	cpu, began := ownCPU(), time.Now()
	a, err := do(ctx, r)
	a.Seconds, a.CPU = time.Since(began).Seconds(), (ownCPU() - cpu).Seconds()
	if a.finish != nil {
		a.finish()
	}
	if err != nil {
		a.Error = err.Error()
	}
	a.RSS = highestRSS()
	a.Total += ownCPU().Seconds()
	return a
}

// usage is what this process has used; it cannot fail for ourselves.
func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u
}

func ownCPU() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// highestRSS is in MB; Linux counts ru_maxrss in KiB (getrusage(2)).
func highestRSS() float64 { return float64(usage().Maxrss) / 1024 }

// process is a side that runs.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log string
}

// start runs a command as a side. The world ends it.
func (w *world) start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: filepath.Join(w.dir, fmt.Sprintf("side-%d.log", len(w.ends)))}
	file, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer file.Close() // the side has its own copy
	cmd.Stderr = file
	dieWithUs(cmd)
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	p.out = bufio.NewReader(pipe)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a side: %w", err)
	}
	w.later(func() {
		_ = p.in.Close()
		_ = cmd.Process.Kill() // it keeps nothing
		_ = cmd.Wait()
	})
	return p, nil
}

// goSide starts this program as a side.
func (w *world) goSide(name string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return w.start(exec.Command(self, "-child", name, "-profiles", w.profiles))
}

// call has the side do a request. The end of ctx kills it.
func (p *process) call(ctx context.Context, r request) (answer, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	text, err := json.Marshal(r)
	if err != nil {
		return answer{}, fmt.Errorf("encode a request: %w", err)
	}
	if _, err := p.in.Write(append(text, '\n')); err != nil {
		return answer{}, p.failed(r.Op, err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return answer{}, p.failed(r.Op, err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, p.failed(r.Op, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s", r.Op, a.Error)
	}
	return a, nil
}

// failed adds the end of what the side has printed.
func (p *process) failed(op string, err error) error {
	text, _ := os.ReadFile(p.log) // without it the error stands alone
	return fmt.Errorf("%s: %w\n%s", op, err, text[max(0, len(text)-2000):])
}
