package job

import (
	"slices"
	"time"
)

// Sight is what is known of one run at one moment. Decide says what to do next; whoever does it looks again and asks again, so that a
// process may end between any two steps, or be overtaken by another one. How a step changes the Sight is said at Step.
type Sight struct {
	Now time.Time
	// Run is the record as last read; Known is false if there is none.
	Run   Run
	Known bool
	// Message is the request while it is in our hands and not acknowledged, nil otherwise.
	Message *Message
	// Accepted is the record that the message makes where there is none: Queued, or Rejected. It is there whenever Message is.
	Accepted *Run
	// Object is the Job under the record's name, as the API server itself has said; Looked is false while it has not been asked, or its last answer
	// does not count any more. An Object that was not Looked at is a hint, such as an event of a watch: nothing is started, and no run is ended, because of it.
	Object *Object
	Looked bool
	// Denied is why the cluster has not made the Job, nil while it has not refused or when it is worth trying again.
	Denied *Denial
	// Gate says whether the run may start now.
	Gate Gate
	// Kept says that the end of the Job was captured, in Result.
	Kept   bool
	Result Result
	// Announced says that the end of the run was published.
	Announced bool
}

// Gate says whether a run without a Job may start. The zero value is open.
type Gate struct {
	// Phase is Queued or Waiting while it is closed.
	Phase           Phase
	Reason, Message string
}

// Closed reports whether the run has to wait.
func (g Gate) Closed() bool { return g.Phase != "" }

// Denial is why the cluster has not made a Job.
type Denial struct {
	// ForGood says that no other try will do better: the run fails. Else it goes back into the queue.
	ForGood bool
	// Reason is ReasonInvalidSpec, ReasonJobQuotaExceeded or ReasonAPIServerUnavailable.
	Reason, Message string
}

// Result is what is kept of a Job that has ended.
type Result struct {
	Pods   []Pod
	Log    []LogPart
	Counts Counts
}

// Ends adds how pods have ended that ran when they were captured, as those of a Job that is being deleted. What is not among them any more stays as it was.
func (r Result) Ends(pods []Pod) Result {
	r.Pods = slices.Clone(r.Pods)
	for i, captured := range r.Pods {
		for _, pod := range pods {
			if pod.Name == captured.Name {
				r.Pods[i] = pod
			}
		}
	}
	return r
}

// Step is one thing to do. Each is one request to one server, but Capture. What it does to the Sight is part of the protocol; the model in the tests does the same:
//
//   - Store goes by compare-and-set on the revision at which Run was read, or creates it. When it went well, Action.Record is Run, and Looked is false if JobName
//     has changed or Ending is new. After any error the record is read again, from the server that leads.
//   - When a record is read, for that or because somebody else has written it, Looked is false and Denied nil: what was seen before it may be older than it. Kept stays while JobUID does.
//     What gives reason to read it while it is being read has it read once more.
//   - Look, and every other look at the API server, is a live GET by the record's name (Object's, where there is no record), never a cache. Its answer, also that there is none, is
//     Object, and Looked is true.
//   - Create answers with Object, Looked. If it is refused, because the name is taken or for any other reason, a Look comes first: a Job may be there already, and may be the very one that
//     fills the quota. Only if there is none does a refusal count, as Denied. After any other error Looked is false. Denied is nil again when it is worth another try.
//   - Resume carries the UID and Object.Version, makes the Job Resumed in the same request, and answers with Object, Looked. After any error, also ErrChanged, Looked is false.
//   - Delete carries the UID, in the foreground. After it Object is nil and Looked false. After an error Object is a hint, so that it is tried again, and Kept is false: the Job may still end
//     by itself.
//   - Capture sets Kept and Result, to which Result.Ends adds what is seen of the pods later. What cannot be kept after some tries is left out of it, and the run goes on. Kept is false again when Object turns out to have ended since.
//   - Arm carries the UID; Object then has the TTL. After an error Looked is false.
//   - Announce sets Announced unless it fails.
//   - After Ack or Bury Message is nil, however it went: a request that is still there comes again.
//   - An event of the watch is Object unless it is older than what is there, and Looked stays as it was if the UID did; of another UID it is a hint, and of one that is being deleted no news
//     at all. When Object is said to be gone, it is nil, not Looked.
//   - When a Job that was there is gone, as the watch or a look says, the record is read again: whoever has removed it may have written there.
type Step int

// The steps.
const (
	// Rest is nothing: another message, object, time or change of the gate has to come first.
	Rest Step = iota
	// Store writes Action.Record with compare-and-set; it is created if there is none.
	Store
	// Look asks the API server for the Job under the record's name.
	Look
	// Create makes the Job, suspended and without TTL, and looks at the one that is there if the name is taken.
	Create
	// Resume lets the Job with Action.UID run, if it is as it was when it was looked at.
	Resume
	// Delete removes the Job with Action.UID and its pods.
	Delete
	// Capture keeps what the Job has left: ends of pods, output.
	Capture
	// Arm gives the Job with Action.UID its TTL.
	Arm
	// Announce publishes the end of the run.
	Announce
	// Ack takes the message out of the queue.
	Ack
	// Bury keeps the message as a dead letter for Action.Reason, then takes it out of the queue.
	Bury
)

// String names the step, for logs.
func (s Step) String() string {
	names := [...]string{"Rest", "Store", "Look", "Create", "Resume", "Delete", "Capture", "Arm", "Announce", "Ack", "Bury"}
	if s < 0 || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Action is a step with what it needs.
type Action struct {
	Step   Step
	Record Run
	UID    string
	Reason string
	Detail string
	// Until is when to ask again although nothing has come, for Rest; zero for never.
	Until time.Time
}
