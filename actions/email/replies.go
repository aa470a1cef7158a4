package email

import (
	"regexp"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// What people are told to do. Each is the end of a sentence that begins with
// what the server said.
const (
	adviseLogin   = "store a version of the secret with a login that works (\"sealpost secret put\"); the job then goes on by itself"
	adviseTLS     = "only encrypted and verified connections are used; give the secret the right server, port, \"tls\", \"server_name\" or \"ca_pem\" (\"sealpost secret put\"), or mend the server and run \"sealpost parked release\""
	adviseAccount = "the provider has stopped this account; settle it there and run \"sealpost parked release\", or store another login (\"sealpost secret put\")"
	adviseSender  = "this login may not send with this \"from\""
	adviseSplit   = "send to fewer recipients in one job"
	adviseUTF8    = "use an address in ASCII, or another server"
	adviseListed  = "the server refuses our address; ask its operator, or see whether we are on a block list"
	adviseNet     = "an operator can allow the address with SEALPOST_ALLOW_NET"
)

// before are the stages up to the login, message those of a mail.
var (
	before   = []string{stageDial, stageTLS}
	message  = []string{stageMail, stageRcpt, stageData, stageDot}
	envelope = []string{stageRcpt, stageData, stageDot} // Exchange refuses recipients after the text
)

// text compiles a pattern that ignores case.
func text(pattern string) *regexp.Regexp { return regexp.MustCompile("(?i)" + pattern) }

// replies says what every answer means. The first row that matches wins, so
// narrow rows come first. testdata/replies.json holds replies with where
// each is from and what it must be taken for.
var replies = actions.Table{
	// Our own side, and the line.
	{Name: "blocked-address", Status: statusBlocked, Reason: actions.Policy},
	{Name: "mail-too-large", Status: statusTooLarge, Reason: actions.Payload},
	{Name: "no-smtputf8", Status: statusNoUTF8, Reason: actions.Payload, Advice: adviseUTF8},
	{Name: "no-sender", Status: statusParams, Reason: actions.Config},
	{Name: "claim", Status: statusClaim, Reason: actions.Transient},
	{Name: "certificate", Status: statusCertificate, Reason: actions.Credential, Advice: adviseTLS},
	{Name: "no-starttls", Status: statusNoSTARTTLS, Reason: actions.Credential, Advice: adviseTLS},
	{Name: "tls-version", Status: statusVersion, Reason: actions.Credential, Advice: adviseTLS},
	{Name: "not-tls", Status: statusPlaintext, Reason: actions.Credential, Advice: adviseTLS},
	{Name: "no-login-kind", Status: statusNoMechanism, Reason: actions.Credential, Advice: adviseLogin},
	{Name: "dns", Status: statusDNS, Reason: actions.Transient, After: time.Minute},
	{Name: "lost-after-text", Stages: []string{stageDot}, Status: "net.*", Reason: actions.Ambiguous},
	{Name: "no-answer-to-text", Stages: []string{stageDot}, Min: 100, Max: 399, Reason: actions.Ambiguous},
	{Name: "no-code-for-text", Stages: []string{stageDot}, Min: 600, Max: 999, Reason: actions.Ambiguous},
	{Name: "network", Status: "net.*", Reason: actions.Transient},
	{Name: "login-protocol", Status: statusMechanism, Reason: actions.Credential, Advice: adviseLogin},

	// The account. 4xx limits come before logins: Gmail says 454 4.7.0 "Too many
	// login attempts", SendGrid 451 "Authentication failed: Maximum credits exceeded".
	{Name: "quota-used-up", Min: 400, Max: 599, Text: text(`maximum credits|daily (user )?(sending|message|mail|email|smtp relay)? ?(sending )?(limit|quota)|quota exceeded for sending|sending quota|submissionquotaexceeded|exceeded your (messaging|sending) limits|hourly limit|messages? per day|(this|per) hour`), Reason: actions.Throttled, After: 15 * time.Minute},
	{Name: "account-stopped", Min: 500, Max: 599, Text: text(`account (is |has been )?(temporarily |currently )?(suspended|disabled|blocked|locked|paused|deactivated|under review)|sending paused|(suspended|disabled) account|account is not allowed to send`), Stages: []string{stageAuth, stageMail, stageData, stageDot}, Reason: actions.Credential, Advice: adviseAccount},
	{Name: "login-wrong", Min: 534, Max: 535, Reason: actions.Credential, Advice: adviseLogin},
	{Name: "login-needed", Min: 530, Reason: actions.Credential, Advice: adviseLogin},
	{Name: "login-needs-tls", Min: 538, Reason: actions.Credential, Advice: adviseTLS},
	// Exchange's words for a recipient that takes no mail from outside.
	{Name: "recipient-closed", Min: 500, Max: 599, Stages: envelope, Text: text(`resolver\.rst\.authrequired`), Reason: actions.Recipient},
	{Name: "login-missing", Min: 500, Max: 599, Stages: message, Text: text(`auth(entication|orization)? (is )?required|not authenticated|unauthenticated senders|must (first )?(authenticate|log ?in)|authenticate first|need to authenticate|please log ?in|smtp auth|credentials no longer valid`), Reason: actions.Credential, Advice: adviseLogin},
	{Name: "connections", Min: 400, Max: 599, Text: text(`too many (concurrent |simultaneous |open |active )*(smtp )?(connections|sessions)\b|concurrent (\w+ )?(connections|sessions)|connections? limit|(maximum|limit|number) (number )?of (\w+ )*connections`), Reason: actions.Throttled, Lesson: queue.ConnectionLimit},
	{Name: "login-limit", Min: 400, Max: 499, Stages: []string{stageAuth}, Text: text(`too many|\blimit|exceeded|\brate|later, closing`), Reason: actions.Throttled, After: time.Minute},
	{Name: "login-later", Min: 400, Max: 499, Stages: []string{stageAuth}, Reason: actions.Transient},
	{Name: "login-refused", Min: 500, Max: 599, Stages: []string{stageAuth}, Reason: actions.Credential, Advice: adviseLogin},

	// Too much. These words never mean that this mail is bad.
	{Name: "mailbox-full", Min: 400, Max: 499, Text: text(`mailbox (is )?full|over ?quota|quota exceeded|exceeded (the )?(storage|quota)|mailbox size limit|out of storage`), Reason: actions.Transient, After: 10 * time.Minute},
	// What one connection takes, before "too many recipients", with which OpenSMTPD
	// begins these words too. The next mail goes by another one.
	{Name: "session-limit", Min: 400, Max: 599, Stages: message, Text: text(`(too many|maximum( number of)?|max|limit of|enough) (\d+ )?(messages|mails|emails|transactions)( sent)? (in|on|per|for|over|during|by|from) (this |one |a |the |your |same )?(smtp )?(session|connection)|(messages|mails|transactions) per (session|connection)|too many recipients: too many messages sent`), Reason: actions.Throttled, Lesson: queue.SessionLimit},
	// Postfix names the client whose recipients in a minute were too many. Those
	// of one mail are another matter.
	{Name: "recipient-rate", Min: 400, Max: 499, Stages: []string{stageRcpt}, Text: text(`too many recipients from`), Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "too-many-recipients", Min: 400, Max: 599, Stages: []string{stageRcpt, stageData}, Text: text(`too many recipients|recipients? (limit|count)|limit of (\d+ )?recipients|separate transaction|domains per transaction`), Reason: actions.Payload, Advice: adviseSplit},
	{Name: "too-many-recipients-at-dot", Min: 500, Max: 599, Stages: []string{stageDot}, Text: text(`too many recipients`), Reason: actions.Payload, Advice: adviseSplit},
	{Name: "timeout", Min: 400, Max: 499, Text: text(`time-?out|timed out`), Reason: actions.Transient},
	{Name: "rate", Min: 400, Max: 499, Text: text(`too (many|much|fast|quickly|frequent)|\brate|throttl|\blimit|concurren|server busy|slow down|exceeded|unusual`), Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "rate-5xx", Min: 500, Max: 599, Text: text(`too many (messages|mails|emails|connections|concurrent)|rate ?limit|sending rate|throttl|sending limit exceeded|unusual sending|frequency limited|at a rate that`), Reason: actions.Throttled, Lesson: queue.RateLimit, After: time.Minute},
	{Name: "closing-policy", Min: 421, Status: "4.7.*", Reason: actions.Throttled, Lesson: queue.RateLimit},

	// Later.
	{Name: "greylist", Min: 400, Max: 499, Stages: message, Text: text(`gr[ae]y-?list|postgrey`), Reason: actions.Greylisted},
	{Name: "greylist-451", Min: 450, Max: 451, Stages: []string{stageRcpt, stageData, stageDot}, Status: "4.7.1", Text: text(`try again|later|deferred|please retry`), Reason: actions.Greylisted},
	{Name: "listed-later", Min: 400, Max: 499, Text: text(`block ?list|blacklist|spamhaus|reverse (dns|hostname)|reputation`), Reason: actions.Transient, After: 5 * time.Minute, Advice: adviseListed},
	{Name: "later", Min: 400, Max: 499, Reason: actions.Transient},
	// A 5xx is for good, but some servers say with one that they are in trouble:
	// Postfix without its mail filter, hMailServer without room, GMX.
	{Name: "later-5xx", Min: 500, Max: 599, Stages: message, Text: text(`\b(try|retry) (again )?later|^service (currently )?unavailable\.?$`), Reason: actions.Transient, After: 10 * time.Minute},

	// Before the login: the server as a whole says no. It may be a mistake of
	// its operator or a block list, so the jobs try again.
	{Name: "starttls-refused", Min: 500, Max: 599, Stages: []string{stageTLS}, Reason: actions.Credential, Advice: adviseTLS},
	{Name: "refused-at-door", Min: 500, Max: 599, Stages: before, Reason: actions.Transient, After: time.Minute, Advice: adviseListed},

	// The mail itself.
	{Name: "out-of-order", Min: 503, Reason: actions.Transient},
	{Name: "form", Min: 500, Max: 599, Status: "5.6.*", Reason: actions.Payload},
	{Name: "command-unknown", Min: 500, Max: 502, Stages: []string{stageData, stageDot}, Reason: actions.Transient},
	{Name: "full-for-good", Min: 500, Max: 599, Stages: envelope, Text: text(`mailbox (is )?full|over ?quota|quota exceeded|out of storage|mailbox size limit`), Reason: actions.Recipient},
	{Name: "full-for-good-code", Min: 552, Status: "5.2.2", Reason: actions.Recipient},
	{Name: "content-552", Min: 552, Status: "5.7.*", Reason: actions.Policy},
	{Name: "size", Min: 552, Reason: actions.Payload},
	{Name: "size-code", Min: 500, Max: 599, Status: "5.3.4", Reason: actions.Payload},
	{Name: "size-words", Min: 500, Max: 599, Text: text(`(message|mail|size) (is )?(too (large|big|long)|exceeds)|exceeds? (the )?(maximum|fixed) .*size|max(imum)? message size`), Reason: actions.Payload},
	{Name: "sender-refused", Min: 500, Max: 599, Stages: message, Text: text(`sender (address )?(rejected|denied|refused|not allowed|verify|domain|identity)|send ?as|not (owned by|verified)|from address|verified (sender|identity)|not allowed to (send|relay) (as|from)|invalid sender|sender is not|envelope sender|authori[sz]ed to send`), Reason: actions.Policy, Advice: adviseSender},
	{Name: "relay", Min: 500, Max: 599, Stages: message, Text: text(`relay|not permitted to send`), Reason: actions.Policy},
	{Name: "content", Min: 500, Max: 599, Stages: message, Text: text(`spam|virus|malware|content|phish|unsolicited|dmarc|spf |dkim|blacklist|block ?list|spamhaus|blocked|reputation|banned|poor|policy|sandbox|network not allowed`), Reason: actions.Policy},
	{Name: "address", Min: 500, Max: 599, Stages: envelope, Status: "5.1.*", Reason: actions.Recipient},
	{Name: "mailbox", Min: 500, Max: 599, Stages: envelope, Status: "5.2.*", Reason: actions.Recipient},
	{Name: "routing", Min: 500, Max: 599, Stages: envelope, Status: "5.4.*", Reason: actions.Recipient},
	{Name: "policy", Min: 500, Max: 599, Stages: message, Status: "5.7.*", Reason: actions.Policy},
	{Name: "syntax-at-mail", Min: 500, Max: 599, Stages: []string{stageMail}, Status: "5.5.*", Reason: actions.Payload},
	{Name: "syntax", Min: 500, Max: 504, Stages: []string{stageMail, stageRcpt}, Reason: actions.Payload},
	{Name: "sender", Min: 500, Max: 599, Stages: []string{stageMail}, Reason: actions.Policy, Advice: adviseSender},
	{Name: "recipient", Min: 500, Max: 599, Stages: []string{stageRcpt}, Reason: actions.Recipient},
	{Name: "recipient-at-data", Min: 500, Max: 599, Stages: envelope, Text: text(`no valid recipient|no such (user|mailbox|recipient)|user unknown|unknown user|mailbox (unavailable|not found)|recipient`), Reason: actions.Recipient},
	{Name: "rejected", Min: 500, Max: 599, Reason: actions.Policy},
	{Name: "anything-else", Reason: actions.Transient},
}
