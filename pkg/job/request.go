package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrNotJSON says that the body of a request is neither empty nor a JSON object.
var ErrNotJSON = errors.New("the body is no JSON object")

// Bounds of a request.
const (
	// MaxBody is of a whole body, and maxArguments of its args and command together, as of its env: one argument of a program on Linux has at most as many (MAX_ARG_STRLEN).
	MaxBody      = 256 << 10 // bytes
	maxArguments = 128 << 10 // bytes
	maxListed    = 10_000
	maxDependsOn = 100
	maxLabels    = 20
	maxImage     = 512 // bytes
)

// request is what a body asks for. What it does not ask for is nil or empty.
type request struct {
	args, command           []string
	image, restartPolicy    string
	env                     []variable
	requests, limits        map[string]string
	dependsOn               []string
	backoffLimit, ttl, life *int
	labels                  map[string]string
	runID                   string
}

// ValidBody returns an error that wraps ErrNotJSON for a body that a request cannot have at all: an empty one asks for all defaults, else it is a JSON object.
func ValidBody(body []byte) error {
	_, err := bodyObject(body)
	return err
}

func bodyObject(body []byte) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrNotJSON)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, fmt.Errorf(`%w: one such as {"args":["42"]} is right, and so is an empty body`, ErrNotJSON)
	}
	return object, nil
}

// RequestedRunID is the id that a body asks for with its key runId, empty if it does not.
func RequestedRunID(body []byte) (id string) {
	object, err := bodyObject(body)
	if err != nil {
		return ""
	}
	for _, written := range slices.Sorted(maps.Keys(object)) {
		if strings.EqualFold(written, "runId") && json.Unmarshal(object[written], &id) != nil {
			return ""
		}
	}
	return id
}

// decodeRequest reads a body. The warnings are about keys that nobody knows; the error is about the first thing that is wrong.
func decodeRequest(body []byte) (q request, warnings []string, err error) {
	if len(body) > MaxBody {
		return q, nil, refuse(ReasonTooLarge, "body", "%d bytes are too many: at most %d are right", len(body), MaxBody)
	}
	if _, err := bodyObject(body); err != nil {
		return q, nil, refuse(ReasonInvalidRequest, "body", "%v", err)
	}
	var r reading
	if len(bytes.TrimSpace(body)) > 0 {
		r.object(q.keys(&r)...)("", body)
	}
	for _, f := range r.unknown {
		warnings = append(warnings, f.String()+"; it is ignored")
	}
	if len(r.wrong) > 0 {
		return q, warnings, refuse(ReasonInvalidRequest, r.wrong[0].path, "%s", r.wrong[0].text)
	}
	return q, warnings, nil
}

// keys are those of a request: ours, and those of SlimFaas.
func (q *request) keys(r *reading) []key {
	count := func(target **int) read {
		return r.number(func(n int) { *target = &n }, 0, math.MaxInt32)
	}
	keys := []key{
		{name: "args", read: r.texts(&q.args, maxListed, checkArgument)},
		{name: "command", read: r.texts(&q.command, maxListed, checkArgument)},
		{name: "env", alias: "environments", read: r.variables(&q.env)},
		{name: "image", read: r.text(&q.image, nil)},
		{name: "resources", read: r.object(key{name: "requests", read: r.quantities(&q.requests)}, key{name: "limits", read: r.quantities(&q.limits)})},
		{name: "dependsOn", read: r.texts(&q.dependsOn, maxDependsOn, nil)},
		{name: "backoffLimit", read: count(&q.backoffLimit)},
		{name: "ttlSecondsAfterFinished", read: count(&q.ttl)},
		{name: "restartPolicy", read: r.word(&q.restartPolicy, "Never", "OnFailure")},
		{name: "activeDeadlineSeconds", read: r.number(func(n int) { q.life = &n }, 1, math.MaxInt32)},
		{name: "labels", read: r.labels(&q.labels)},
		{name: "runId", read: r.text(&q.runID, ValidRunID)},
	}
	return append(keys, later("template", "notBefore", "input")...)
}

func checkArgument(argument string) error {
	if strings.ContainsRune(argument, 0) {
		return errors.New("has a character NUL, which no argument of a program can have: leave it out")
	}
	return nil
}

func (r *reading) quantities(target *map[string]string) read {
	return r.each(maxListed, func(name string) read {
		return r.quantity(func(amount string) { put(target, name, amount) })
	})
}

func (r *reading) labels(target *map[string]string) read {
	return r.each(maxLabels, func(name string) read {
		return func(path string, value json.RawMessage) {
			if err := checkLabelKey(name); err != nil {
				r.refuse(path, value, err.Error())
				return
			}
			var text string
			before := len(r.wrong)
			r.text(&text, checkLabelValue)(path, value)
			if len(r.wrong) == before {
				put(target, name, text)
			}
		}
	})
}

func put(target *map[string]string, name, value string) {
	if *target == nil {
		*target = map[string]string{}
	}
	(*target)[name] = value
}

// Names of fields that a definition can let requests change; envFrom stands for env with a valueFrom.
const (
	fieldArgs          = "args"
	fieldCommand       = "command"
	fieldEnv           = "env"
	fieldEnvFrom       = "envFrom"
	fieldImage         = "image"
	fieldResources     = "resources"
	fieldDependsOn     = "dependsOn"
	fieldBackoffLimit  = "backoffLimit"
	fieldTTL           = "ttlSecondsAfterFinished"
	fieldRestartPolicy = "restartPolicy"
	fieldLife          = "activeDeadlineSeconds"
	fieldLabels        = "labels"
)

// DefaultAllow are the fields that a request may change where the definition does not say it.
func DefaultAllow() []string {
	return []string{
		fieldArgs, fieldEnv, fieldDependsOn, fieldResources, fieldImage, fieldBackoffLimit, fieldTTL, fieldRestartPolicy, fieldLife,
	}
}

// allowable are the fields that a definition can name.
func allowable() []string { return append(DefaultAllow(), fieldCommand, fieldLabels, fieldEnvFrom) }

// asks are the fields that the request has, in a stable order. What would change nothing does not count: some clients always send everything.
func (q *request) asks() (fields []string) {
	has := map[string]bool{
		fieldArgs: q.args != nil, fieldCommand: q.command != nil, fieldEnv: len(q.env) > 0, fieldResources: len(q.requests)+len(q.limits) > 0,
		fieldDependsOn: q.dependsOn != nil, fieldBackoffLimit: q.backoffLimit != nil, fieldTTL: q.ttl != nil, fieldRestartPolicy: q.restartPolicy != "",
		fieldLife: q.life != nil, fieldLabels: len(q.labels) > 0,
		fieldEnvFrom: slices.ContainsFunc(q.env, variable.elsewhere),
	}
	return slices.DeleteFunc(allowable(), func(field string) bool { return !has[field] })
}
