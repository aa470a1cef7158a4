package main

import (
	"strings"
	"testing"
	"time"
)

const wrkReport = `Running 4s test @ http://127.0.0.1:8080/environment
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.21ms    1.02ms  21.32ms   92.10%
    Req/Sec    29.31k     1.11k   31.80k    67.50%
  Latency Distribution
     50%    2.02ms
     75%    2.40ms
     90%    3.01ms
     99%  980.00us
  116660 requests in 4.00s, 96.31MB read
Requests/sec:  29160.36
Transfer/sec:     24.07MB
`

func TestTheReportOfWrkIsRead(t *testing.T) {
	got, err := parseWrk(wrkReport)
	want := answered{requests: 116660, perSecond: 29160.36, p50: 2020 * time.Microsecond, p99: 980 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"refused answers": strings.Replace(wrkReport, "Requests/sec", "  Non-2xx or 3xx responses: 3\nRequests/sec", 1),
		"broken lines":    strings.Replace(wrkReport, "Requests/sec", "  Socket errors: connect 0, read 5, write 0, timeout 0\nRequests/sec", 1),
		"no percentile":   strings.Replace(wrkReport, "99%", "98%", 1),
		"nothing":         "",
		"no request":      strings.Replace(wrkReport, "116660", "0", 1),
	} {
		if _, err := parseWrk(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
