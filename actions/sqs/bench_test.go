package sqs

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

// BenchmarkDo sends one message a job to the sink, whose cost is part of it.
// gathered/op is how many messages shared a request.
func BenchmarkDo(b *testing.B) {
	for _, workers := range []int{1, 10, 50, 200} {
		for _, name := range []string{"orders", "orders.fifo"} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				w := start(b, name)
				j := job("j", plainAction, `{"variable":"temperature","value":73,"unit":"F"}`)
				if _, err := w.do(b.Context(), b, j); err != nil {
					b.Fatal(err)
				}
				before := w.sink.Calls("SendMessageBatch")
				jobs := make(chan *queue.Job)
				var wait sync.WaitGroup
				for range workers {
					wait.Go(func() {
						for j := range jobs {
							if _, err := w.do(b.Context(), b, j); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ResetTimer()
				for i := range b.N {
					jobs <- job(fmt.Sprint("j", i), string(j.Action), `{"variable":"temperature","value":73,"unit":"F"}`)
				}
				close(jobs)
				wait.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
				b.ReportMetric(float64(b.N)/float64(w.sink.Calls("SendMessageBatch")-before), "gathered/op")
			})
		}
	}
}
