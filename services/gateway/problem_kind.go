package gateway

import (
	"net/http"
	"slices"
)

// problemType starts the type of every problem. What follows never changes its meaning: clients tell problems apart by it.
const problemType = "urn:sluice:problem:"

// ProblemKind is one sort of error that the gateway answers with.
type ProblemKind struct {
	// Name is the last word of Type; metrics have it as the outcome of a call.
	Name   string
	Status int
	Title  string
	// RetryAfter is in seconds; 0 means that repeating does not help by itself.
	RetryAfter int
}

// Type is the URI that an answer of this kind carries (RFC 9457 §3.1.1).
func (k ProblemKind) Type() string { return problemType + k.Name }

// ProblemKinds returns every kind of error answer that there is.
func ProblemKinds() []ProblemKind { return slices.Clone(problemKinds[:]) }

type problemKind int

const (
	badRequest problemKind = iota
	unknownFunction
	unknownRoute
	unknownEvent
	unknownJob
	unknownRun
	noOutput
	closedCall
	wrongMethod
	reusedKey
	lateBody
	largeBody
	refusedJob
	fullQueue
	goneCaller
	internalError
	unreachableFunction
	brokenFunction
	lostCall
	starting
	fullBudget
	idleFunction
	fullStreams
	fullStorage
	silentQueue
	noJobs
	lateFunction
)

// problemKinds is the one place where types, statuses and titles are written down.
var problemKinds = [...]ProblemKind{
	badRequest:      {"bad-request", http.StatusBadRequest, "The request cannot be read", 0},
	unknownFunction: {"function-not-found", http.StatusNotFound, "No such function", 0},
	unknownRoute:    {"route-not-found", http.StatusNotFound, "No such route", 0},
	unknownEvent:    {"event-not-found", http.StatusNotFound, "No such event", 0},
	unknownJob:      {"job-not-found", http.StatusNotFound, "No such job", 0},
	unknownRun:      {"run-not-found", http.StatusNotFound, "No such run", 0},
	noOutput:        {"no-output", http.StatusNotFound, "The run has no output", 0},
	closedCall:      {"call-not-open", http.StatusNotFound, "The call waits for no callback", 0},
	wrongMethod:     {"method-not-allowed", http.StatusMethodNotAllowed, "Method not allowed", 0},
	reusedKey:       {"idempotency-key-reused", http.StatusConflict, "The idempotency key belongs to another call or run", 0},
	lateBody:        {"body-timeout", http.StatusRequestTimeout, "The body did not come in time", 0},
	largeBody:       {"body-too-large", http.StatusRequestEntityTooLarge, "The body is too large", 0},
	refusedJob:      {"job-request-refused", http.StatusUnprocessableEntity, "The job does not allow this", 0},
	fullQueue:       {"queue-full", http.StatusTooManyRequests, "The queue is full", 5},
	// 499 is nginx's status for it; only logs and metrics see it.
	goneCaller:          {"caller-gone", 499, "The caller has gone", 0},
	internalError:       {"internal", http.StatusInternalServerError, "Internal error", 0},
	unreachableFunction: {"function-unreachable", http.StatusBadGateway, "The function cannot be reached", 1},
	brokenFunction:      {"function-broke-off", http.StatusBadGateway, "The function's answer broke off", 0},
	lostCall:            {"call-given-up", http.StatusBadGateway, "The call was given up", 0},
	starting:            {"starting", http.StatusServiceUnavailable, "The gateway is starting", 1},
	fullBudget:          {"body-budget-full", http.StatusServiceUnavailable, "Too many large bodies at once", 1},
	idleFunction:        {"function-not-ready", http.StatusServiceUnavailable, "The function is not ready", 5},
	fullStreams:         {"too-many-streams", http.StatusServiceUnavailable, "Too many clients follow the status or output", 5},
	fullStorage:         {"queue-storage-full", http.StatusServiceUnavailable, "The queue's storage is full", 30},
	silentQueue:         {"queue-unavailable", http.StatusServiceUnavailable, "The queue does not answer", 1},
	noJobs:              {"jobs-unavailable", http.StatusServiceUnavailable, "The jobs are not known", 5},
	lateFunction:        {"function-timeout", http.StatusGatewayTimeout, "The function did not answer in time", 0},
}
