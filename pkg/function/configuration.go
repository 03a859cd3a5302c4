package function

import (
	"encoding/json"
	"fmt"
)

// Bounds of the Configuration annotation. Statuses below 400 end a call well (a redirect is the answer, and goes
// back to the caller untouched), so they cannot be listed for another attempt.
const (
	maxSeconds      = 24 * 3600
	leastStatus     = 400
	greatestStatus  = 599
	standardTimeout = 120
)

func defaultConfiguration() Configuration {
	return Configuration{
		DefaultSync:    Policy{HTTPTimeout: standardTimeout},
		DefaultAsync:   defaultRetried(),
		DefaultPublish: defaultRetried(),
	}
}

func defaultRetried() Policy {
	return Policy{HTTPTimeout: standardTimeout, TimeoutRetries: []int{2, 4, 8}, HTTPStatusRetries: []int{500, 502, 503}}
}

// readConfiguration reads the annotation on top of the defaults. Each part that is wrong leaves the last valid one.
func (r *reader) readConfiguration() {
	key, text, found := r.lookup(KeyConfiguration)
	if !found {
		return
	}
	result, last := &r.function.Configuration, r.kept().Configuration
	d := &document{annotation: key}
	part(d, result, fallback[Configuration]{last, allHold(last, *result)}, func(_ string, value json.RawMessage) {
		d.object("", value, []entry{
			{"DefaultSync", d.policy(&result.DefaultSync, last.DefaultSync, true)},
			{"DefaultAsync", d.policy(&result.DefaultAsync, last.DefaultAsync, false)},
			{"DefaultPublish", d.policy(&result.DefaultPublish, last.DefaultPublish, false)},
		})
	})("", json.RawMessage(text))
	r.problems = append(r.problems, d.problems...)
}

// policy reads one mode. A sync call has one attempt, so its retries are known and without effect.
func (d *document) policy(p *Policy, last Policy, once bool) func(string, json.RawMessage) {
	retries, statuses := d.noRetries, d.noRetries
	if !once {
		retries = onePart(d, &p.TimeoutRetries, last.TimeoutRetries, d.numbers(&p.TimeoutRetries, 0, maxSeconds))
		statuses = onePart(d, &p.HTTPStatusRetries, last.HTTPStatusRetries, d.numbers(&p.HTTPStatusRetries, leastStatus, greatestStatus))
	}
	timeout := onePart(d, &p.HTTPTimeout, last.HTTPTimeout, d.number(&p.HTTPTimeout, 1, maxSeconds))
	return part(d, p, fallback[Policy]{last, allHold(last, *p)}, func(path string, value json.RawMessage) {
		d.object(path, value, []entry{{"HttpTimeout", timeout}, {"TimeoutRetries", retries}, {"HttpStatusRetries", statuses}})
	})
}

// onePart is part for a value that is named in the sentence; target has its default.
func onePart[T any](d *document, target *T, last T, read func(string, json.RawMessage)) func(string, json.RawMessage) {
	return part(d, target, fallback[T]{last, valueHolds(last, *target)}, read)
}

func (d *document) numbers(target *[]int, least, greatest int) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		listed, ok := numberList(value, least, greatest)
		if !ok {
			d.refuse(path, string(value), fmt.Sprintf("is not a list of at most %d whole numbers from %d to %d", maxListed, least, greatest))
			return
		}
		*target = listed
	}
}

// numberList decodes through pointers, because encoding/json reads null as 0 otherwise.
func numberList(value json.RawMessage, least, greatest int) ([]int, bool) {
	var items []*int
	if err := json.Unmarshal(value, &items); err != nil || len(items) > maxListed {
		return nil, false
	}
	listed := make([]int, 0, len(items))
	for _, item := range items {
		if item == nil || *item < least || *item > greatest {
			return nil, false
		}
		listed = append(listed, *item)
	}
	return listed, true
}

func (d *document) noRetries(path string, value json.RawMessage) {
	d.report(path, string(value), "is ignored: a sync call has one attempt")
}
