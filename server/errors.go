package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// denied is the message existing clients know for a missing or wrong token.
const denied = "Authorization Denied"

// refused is an answer that a handler chose itself.
type refused struct {
	status  int
	message string
}

// Error is the text that the client gets.
func (e *refused) Error() string { return e.message }

// refuse returns a refusal with this status and message.
func refuse(status int, format string, args ...any) error {
	return &refused{status: status, message: fmt.Sprintf(format, args...)}
}

// errDenied is the refusal of what no policy allows an analysis.
func errDenied() error { return refuse(http.StatusForbidden, denied) }

// problem is one row of the error table: errors that are `is` answer status
// with message, or with the error's own text when message is empty.
type problem struct {
	is      error
	status  int
	message string
}

// problems maps the errors of the packages below to answers; the first match
// wins. Anything else is a 500 without detail, logged once by mount. Errors
// whose own text is shown are written for users and hold no values.
func problems() []problem {
	return []problem{
		{access.ErrUnauthorized, http.StatusUnauthorized, denied},
		{access.ErrNotFound, http.StatusNotFound, "Token Not Found"},
		{access.ErrInvalid, http.StatusBadRequest, ""},
		{actions.ErrNotFound, http.StatusNotFound, "Action Not Found"},
		{actions.ErrProtected, http.StatusConflict, ""},
		{actions.ErrLimit, http.StatusPaymentRequired, ""},
		{access.ErrPolicyNotFound, http.StatusNotFound, "Access Management Not Found"},
		{access.ErrAnalysisNotFound, http.StatusNotFound, "Analysis Not Found"},
		{access.ErrInactive, http.StatusForbidden, ""},
		{access.ErrLimit, http.StatusPaymentRequired, ""}, // the status that clients know
		{access.ErrProtected, http.StatusConflict, ""},
		{secrets.ErrSealed, http.StatusServiceUnavailable, ""},
		{secrets.ErrNotFound, http.StatusNotFound, "Secret Not Found"},
		{secrets.ErrExists, http.StatusConflict, "A secret with this key exists; edit it, or choose another key"},
		{secrets.ErrWrongType, http.StatusConflict, ""},
		{secrets.ErrSealBroken, http.StatusConflict, ""},
		{secrets.ErrConflict, http.StatusConflict, "Somebody else changed the secret in between; read it and try again"},
		{secrets.ErrNoVersion, http.StatusNotFound, ""},
		{secrets.ErrNotReady, http.StatusConflict, ""},
		{secrets.ErrOtherType, http.StatusConflict, ""},
		{secrets.ErrInvalid, http.StatusBadRequest, ""},
		{queue.ErrNotFound, http.StatusNotFound, "Job Not Found"},
		{queue.ErrRunning, http.StatusConflict, "The job is running; it will not be retried if this attempt fails"},
		{queue.ErrFinished, http.StatusConflict, "The job has ended"},
		{queue.ErrNoList, http.StatusBadRequest, ""},
		{queue.ErrCursor, http.StatusBadRequest, "cursor must be what the last answer gave"},
		{queue.ErrPauses, http.StatusBadRequest, "Give a kind, or a lane, of at most 256 printable characters, or neither for everything; at most 1000 pauses"},
		{queue.ErrFull, http.StatusTooManyRequests, ""},
		{queue.ErrDeadFull, http.StatusTooManyRequests, ""},
		{queue.ErrNoMemory, http.StatusTooManyRequests, "Redis is out of memory; wait until workers have caught up, or raise its maxmemory"},
		// Not a 5xx, which some clients send again at once by themselves: without
		// an id that would be another job.
		{queue.ErrNotReplicated, http.StatusFailedDependency, ""},
		{queue.ErrNotOnDisk, http.StatusFailedDependency, ""},
		{queue.ErrNoDurability, http.StatusFailedDependency, ""},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, noRedis},
	}
}

// answerFor returns the answer for err; known is false for a 500.
func answerFor(err error) (status int, message string, known bool) {
	if own, ok := errors.AsType[*refused](err); ok {
		return own.status, own.message, true
	}
	if invalid, ok := errors.AsType[*queue.InvalidJobError](err); ok {
		return http.StatusBadRequest, invalid.Error(), true
	}
	for _, p := range problems() {
		if !errors.Is(err, p.is) {
			continue
		}
		if p.message != "" {
			return p.status, p.message, true
		}
		return p.status, ownText(err), true
	}
	if unreachable(err) {
		return http.StatusServiceUnavailable, noRedis, true
	}
	return http.StatusInternalServerError, "Internal error; the log of the server says more", false
}

// noRedis is for faults that pass by themselves; /readyz and
// sealpost_redis_errors_total tell the operator.
const noRedis = "Redis does not answer; try again in a while"

// unreachable reports whether err is of the line to Redis.
func unreachable(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// ownText is err's text without the names of the packages it came through.
func ownText(err error) string {
	text := err.Error()
	for _, prefix := range []string{"secrets: ", "queue: ", "access: ", "actions: "} {
		text = strings.ReplaceAll(text, prefix, "")
	}
	return text
}

// typeName is the type of a panic's value, which itself may hold a secret.
func typeName(v any) string { return fmt.Sprintf("%T", v) }
