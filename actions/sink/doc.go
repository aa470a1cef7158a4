// Package sink has servers that take what senders send and deliver nothing: a
// mail server with STARTTLS, an Amazon SQS, and an HTTP server. They run in this
// process, keep what they were sent, and fail on demand. Development mode, drills
// and tests use them; none is meant to be reached by others.
package sink
