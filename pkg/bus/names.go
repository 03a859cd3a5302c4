package bus

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Names builds every subject, stream, bucket and header name of one installation. Nothing else in Sluice spells one.
type Names struct {
	// Prefix keeps installations that share a NATS cluster apart.
	Prefix string
}

// CallSubject is where calls of the function are published, by anyone.
func (n Names) CallSubject(function string) string { return n.Prefix + ".call." + function }

// AllCalls matches the call subjects of all functions.
func (n Names) AllCalls() string { return n.Prefix + ".call.*" }

// FunctionOf is the inverse of CallSubject; ok is false for any other subject. What it returns is one word of a subject, not
// necessarily a valid name of a function: anybody may publish.
func (n Names) FunctionOf(subject string) (function string, ok bool) {
	function, ok = strings.CutPrefix(subject, n.Prefix+".call.")
	return function, ok && function != "" && !strings.Contains(function, ".")
}

// CallsStream is the work queue of all calls.
func (n Names) CallsStream() string { return n.Prefix + "-calls" }

// CallsConsumer is the durable consumer of the function's calls: its own name. What cannot be the name of a function can still be
// in a subject, and not always be the name of a consumer ("a/b"), so it is hashed; no function's name begins with "_".
func CallsConsumer(name string) string {
	if function.ValidName(name) == nil {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "_" + hex.EncodeToString(sum[:16])
}

// pullSubject is where a durable consumer takes pull requests (NATS ADR-13).
func pullSubject(stream, consumer string) string {
	return "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer
}

// DeadSubject is where calls of the function go that were given up.
func (n Names) DeadSubject(function string) string { return n.Prefix + ".dead." + function }

// AllDead matches the dead letters of all functions.
func (n Names) AllDead() string { return n.Prefix + ".dead.*" }

// DeadStream keeps the calls that were given up.
func (n Names) DeadStream() string { return n.Prefix + "-dead" }

// FunctionsBucket has one key for each function: its function.State.
func (n Names) FunctionsBucket() string { return n.Prefix + "-functions" }

// AttemptsBucket has one key for each call that waits for a further attempt.
func (n Names) AttemptsBucket() string { return n.Prefix + "-attempts" }

// InsideBucket has one key for each address whose callers count as inside.
func (n Names) InsideBucket() string { return n.Prefix + "-inside" }

// KeysBucket has one key for each idempotency key of a function.
func (n Names) KeysBucket() string { return n.Prefix + "-keys" }

// BodiesBucket is the object store of bodies that are too large for a message.
func (n Names) BodiesBucket() string { return n.Prefix + "-bodies" }

// bodiesStream is the stream behind the object store (NATS ADR-20).
func (n Names) bodiesStream() string { return "OBJ_" + n.BodiesBucket() }

// bodyChunks is where the parts of one body are, in their order.
func (n Names) bodyChunks(name string) string { return "$O." + n.BodiesBucket() + ".C." + name }

// bodyMeta is where it is said what one body is.
func (n Names) bodyMeta(name string) string {
	return "$O." + n.BodiesBucket() + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// EventSubject is where events of the name are published, by anyone.
func (n Names) EventSubject(name string) string { return n.Prefix + ".event." + name }

// AllEvents matches the subjects of all events.
func (n Names) AllEvents() string { return n.Prefix + ".event.*" }

// EventsStream keeps events until they are queued for each function that gets them.
func (n Names) EventsStream() string { return n.Prefix + "-events" }

// EventsConsumer is the durable consumer of events, which all dispatchers share.
const EventsConsumer = "fanout"

// CallbackSubject tells the function's dispatcher that the function has ended a call that it had taken over.
func (n Names) CallbackSubject(function string) string { return n.Prefix + ".callback." + function }

// AllCallbacks matches the callback subjects of all functions.
func (n Names) AllCallbacks() string { return n.Prefix + ".callback.*" }

// ResultSubject brings the result of one call to whoever waits for it with the token.
func (n Names) ResultSubject(token string) string { return n.Prefix + ".result." + token }

// InsideRevisionSubject carries the newest revision of the inside bucket, as RevisionSubject does for the functions.
func (n Names) InsideRevisionSubject() string { return n.Prefix + ".inside-revision" }

// WakeSubject asks the scaler to start the function.
func (n Names) WakeSubject(function string) string { return n.Prefix + ".wake." + function }

// AllWakes matches the wake subjects of all functions.
func (n Names) AllWakes() string { return n.Prefix + ".wake.*" }

// ActivitySubject carries what gateways and dispatchers have in flight.
func (n Names) ActivitySubject() string { return n.Prefix + ".activity" }

// RevisionSubject carries the newest revision of the functions bucket, so that a reader that is behind notices.
func (n Names) RevisionSubject() string { return n.Prefix + ".revision" }

// Inboxes begins the subjects on which a service gets its answers.
func (n Names) Inboxes(service string) string { return "_INBOX." + n.Prefix + "." + service }

// Headers of a message on a call subject. Every other header that is neither Nats-* nor Sluice-* is the function's.
const (
	HeaderMethod = "Sluice-Method"
	HeaderPath   = "Sluice-Path"
	HeaderQuery  = "Sluice-Query"
	// HeaderEscape is put before the name of a caller's header that NATS would act on (Nats-Rollup and the like); it is
	// taken off again before the function sees it.
	HeaderEscape = "Sluice-Header-"
	// HeaderEvent is the name of the event that the call brings, if it does.
	HeaderEvent = "Sluice-Event"
	// HeaderResultTo is the token of whoever waits for the call's result, if anybody does.
	HeaderResultTo = "Sluice-Result-To"
	// HeaderBody is the name of the call's body in the object store, if it is there, and HeaderBodySize its length.
	HeaderBody     = "Sluice-Body"
	HeaderBodySize = "Sluice-Body-Size"
)

// HeaderEventPublic is "true" on an event whose publisher is outside.
const HeaderEventPublic = "Sluice-Event-Public"

// Headers of a result, beside those of the answer.
const (
	HeaderResultID        = "Sluice-Result-Id"
	HeaderResultStatus    = "Sluice-Result-Status"
	HeaderResultTruncated = "Sluice-Result-Truncated"
	HeaderResultReason    = "Sluice-Result-Reason"
	HeaderResultDetail    = "Sluice-Result-Detail"
)

// Headers of a dead letter, beside those of the call.
const (
	HeaderDeadReason     = "Sluice-Dead-Reason"
	HeaderDeadDetail     = "Sluice-Dead-Detail"
	HeaderDeadAt         = "Sluice-Dead-At"
	HeaderDeadAttempts   = "Sluice-Dead-Attempts"
	HeaderDeadCallID     = "Sluice-Dead-Call-Id"
	HeaderDeadAccepted   = "Sluice-Dead-Accepted-At"
	HeaderDeadLastStatus = "Sluice-Dead-Last-Status"
	HeaderDeadLastAnswer = "Sluice-Dead-Last-Answer"
)
