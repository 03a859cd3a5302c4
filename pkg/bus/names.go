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
	return wordAfter(subject, n.CallSubject(""))
}

// wordAfter is the one word of a subject that comes after the prefix; ok is false if there is none, or another one behind it.
func wordAfter(subject, prefix string) (word string, ok bool) {
	word, ok = strings.CutPrefix(subject, prefix)
	return word, ok && word != "" && !strings.Contains(word, ".")
}

// CallsStream is the work queue of all calls.
func (n Names) CallsStream() string { return n.Prefix + "-calls" }

// CallsConsumer is the durable consumer of the function's calls, and of the requests of a job: its own name. What cannot be the name of either
// can still be in a subject, and not always be the name of a consumer ("a/b"), so it is hashed; no function's name begins with "_".
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

// DeadJobSubject is where requests of the job go that were given up.
func (n Names) DeadJobSubject(name string) string { return n.Prefix + ".deadjob." + name }

// AllDeadJobs matches the dead letters of all jobs.
func (n Names) AllDeadJobs() string { return n.Prefix + ".deadjob.*" }

// DeadStream keeps the calls and the requests of jobs that were given up.
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

// objectsStream is the stream behind an object store (NATS ADR-20).
func objectsStream(bucket string) string { return "OBJ_" + bucket }

// objectSubjects matches all that is in an object store.
func objectSubjects(bucket string) string { return "$O." + bucket + ".>" }

// objectChunks is where the parts of one object are, in their order. nuid is not its name, unless it was made so.
func objectChunks(bucket, nuid string) string { return "$O." + bucket + ".C." + nuid }

// objectMeta is where it is said what one object is.
func objectMeta(bucket, name string) string {
	return "$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// valuesStream is the stream behind a bucket (NATS ADR-8).
func valuesStream(bucket string) string { return "KV_" + bucket }

// valueSubject is where the value of one key is; the key may have wildcards.
func valueSubject(bucket, key string) string { return "$KV." + bucket + "." + key }

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

// JobSubject is where requests for runs of the job are published, by anyone.
func (n Names) JobSubject(name string) string { return n.Prefix + ".job." + name }

// AllJobs matches the request subjects of all jobs.
func (n Names) AllJobs() string { return n.Prefix + ".job.*" }

// JobOf is the inverse of JobSubject; ok is false for any other subject. As with FunctionOf, it need not be a valid name.
func (n Names) JobOf(subject string) (name string, ok bool) {
	return wordAfter(subject, n.JobSubject(""))
}

// JobsStream is the work queue of all job requests.
func (n Names) JobsStream() string { return n.Prefix + "-jobs" }

// DefinitionsBucket has one key for each job: its job.Definition.
func (n Names) DefinitionsBucket() string { return n.Prefix + "-definitions" }

// DefinitionsRevisionSubject carries the newest revision of the definitions bucket, as RevisionSubject does for the functions.
func (n Names) DefinitionsRevisionSubject() string { return n.Prefix + ".definitions-revision" }

// RunsBucket has one key for each run: <definition>.<run>.
func (n Names) RunsBucket() string { return n.Prefix + "-runs" }

// RunRevisionSubject carries the newest revision of the record of one run, sent by who has written it.
func (n Names) RunRevisionSubject(definition, run string) string {
	return n.Prefix + ".run-revision." + definition + "." + run
}

// AllRunRevisions matches those of all runs.
func (n Names) AllRunRevisions() string { return n.Prefix + ".run-revision.*.*" }

// JobStateSubject is where the moves of one run are announced.
func (n Names) JobStateSubject(definition, run string) string {
	return n.Prefix + ".jobstate." + definition + "." + run
}

// JobLogsBucket is the object store of what was kept of the output of runs.
func (n Names) JobLogsBucket() string { return n.Prefix + "-joblogs" }

// JobLogSubject asks the leading jobrunner for the output of a run that has not ended.
func (n Names) JobLogSubject(definition, run string) string {
	return n.Prefix + ".joblog." + definition + "." + run
}

// AllJobLogs matches those of all runs.
func (n Names) AllJobLogs() string { return n.Prefix + ".joblog.*.*" }

// logServers is the group of those who answer: one of them does.
const logServers = "jobrunner"

// LogSessionSubject asks for the next part of an output that is being read.
func (n Names) LogSessionSubject(session string) string { return n.Prefix + ".joblog." + session }

// JobOutputSubject brings the parts to the reader. It is not one of its inboxes, so that who serves output need not be permitted to write to any.
func (n Names) JobOutputSubject(reader string) string { return n.Prefix + ".joboutput." + reader }

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

// Headers of a message on a job subject.
const (
	HeaderJobRunID     = "Sluice-Job-Run-Id"
	HeaderJobRequester = "Sluice-Job-Requester"
	HeaderJobPath      = "Sluice-Job-Path"
	// HeaderRunID is how other NATS clients may choose the id of a run.
	HeaderRunID = "Job-Run-Id"
)

// Headers of the parts of an output: the session to ask, the place of the part in bytes, whether it is the last one, and a word and a sentence for what is
// wrong.
const (
	headerLogSession = "Sluice-Log-Session"
	headerLogStart   = "Sluice-Log-Start"
	headerLogOffset  = "Sluice-Log-Offset"
	headerLogEnd     = "Sluice-Log-End"
	headerLogError   = "Sluice-Log-Error"
	headerLogDetail  = "Sluice-Log-Detail"
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
