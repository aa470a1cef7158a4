package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// sinkEnv makes the test binary a queue, for the benchmarks: its processor time is
// then not ours.
const sinkEnv = "SQS_BENCH_SINK"

// sinkPlace is what the sink prints when it has started.
type sinkPlace struct{ URL, Region, ID, Key, Orders, FIFO string }

// beSink is a queue until its input ends.
func beSink() {
	s, err := sink.StartSQS(sink.SQSConfig{Keep: 1})
	if err == nil {
		id, key := s.Keys()
		err = json.NewEncoder(os.Stdout).Encode(sinkPlace{s.URL(), s.Region(), id, key, s.CreateQueue("orders"), s.CreateQueue("orders.fifo")})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// otherSink starts a queue in a process of its own.
func otherSink(b *testing.B) sinkPlace {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	var p sinkPlace
	if err := json.NewDecoder(out).Decode(&p); err != nil {
		b.Fatal(err)
	}
	return p
}

// busyTime is the processor time of this process.
func busyTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// each does b.N messages from so many workers, after one from each that is not
// measured, and says what a message cost on this side.
func each(b *testing.B, workers int, do func(n int) error) {
	b.Helper()
	all := func(from, to int) {
		next := atomic.Int64{}
		next.Store(int64(from))
		var wait sync.WaitGroup
		for range workers {
			wait.Go(func() {
				for n := int(next.Add(1)); n <= to; n = int(next.Add(1)) {
					if err := do(n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
	}
	all(-workers, 0)
	before := busyTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	all(0, b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64((busyTime(b)-before).Microseconds())/float64(b.N), "cpu-us/msg")
}

const reading = `{"variable":"temperature","value":73,"unit":"F"}`

// BenchmarkMessages is one message a job, by us and by SendMessage alone, who take
// turns.
func BenchmarkMessages(b *testing.B) {
	to := otherSink(b)
	for _, workers := range []int{50, 200} {
		for round := range 3 {
			name := func(who string) string { return fmt.Sprintf("workers=%d/%s/%d", workers, who, round+1) }
			b.Run(name("gathered"), func(b *testing.B) { ours(b, to, to.Orders, workers) })
			b.Run(name("fifo"), func(b *testing.B) { ours(b, to, to.FIFO, workers) })
			b.Run(name("one-by-one"), func(b *testing.B) { oneByOne(b, to, workers) })
		}
	}
}

func ours(b *testing.B, to sinkPlace, url string, workers int) {
	a := newAction(b, &vault{secret: secrets.SQS{
		Ref: secrets.Ref{ID: secretID, Key: secretKey, Type: secrets.TypeSQS, Version: 1}, Region: to.Region,
		QueueURL: url, Endpoint: to.URL, AccessKeyID: redact.New(to.ID), SecretAccessKey: redact.New(to.Key),
	}}, "127.0.0.1")
	action := json.RawMessage(plainAction)
	data := json.RawMessage("[" + reading + "]")
	start := time.Now().UnixNano() // FIFO queues forget what they had before
	each(b, workers, func(n int) error {
		j := &queue.Job{ID: fmt.Sprint(start, "-", n), JID: fmt.Sprint(n), Action: action, Data: data}
		work, err := a.Prepare(j)
		if err == nil {
			_, err = work.Do(b.Context(), queue.NewClaim(j, 1, nil))
		}
		return err
	})
}

// oneByOne is the SDK, with its connections kept.
func oneByOne(b *testing.B, to sinkPlace, workers int) {
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	api := awssqs.New(awssqs.Options{
		Region: to.Region, BaseEndpoint: aws.String(to.URL), HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: to.ID, SecretAccessKey: to.Key}, nil
		}),
	})
	each(b, workers, func(int) error {
		_, err := api.SendMessage(context.Background(), &awssqs.SendMessageInput{QueueUrl: aws.String(to.Orders), MessageBody: aws.String(reading)})
		return err
	})
}
