package function

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of the Configuration annotation. Statuses below 400 end a call well (a redirect is the answer, and goes
// back to the caller untouched), so they cannot be listed for another attempt.
const (
	maxSeconds      = 24 * 3600
	maxListed       = 100
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

// configurationReader reads the JSON of the Configuration annotation on top of the defaults. Keys are found in any
// case; what is wrong is reported by its path and leaves the default.
type configurationReader struct {
	annotation string
	result     Configuration
	problems   []Problem
}

// entry is one key of a JSON object that may be set.
type entry struct {
	name string
	read func(path string, value json.RawMessage)
}

func (c *configurationReader) read(text string) {
	if !json.Valid([]byte(text)) {
		c.report("", text, "is no valid JSON; the defaults hold")
		return
	}
	c.object("", json.RawMessage(text), []entry{
		{"DefaultSync", c.policy(&c.result.DefaultSync, true)},
		{"DefaultAsync", c.policy(&c.result.DefaultAsync, false)},
		{"DefaultPublish", c.policy(&c.result.DefaultPublish, false)},
	})
}

// policy reads one mode. A sync call has one attempt, so its retries are known and without effect.
func (c *configurationReader) policy(p *Policy, once bool) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		retries, statuses := c.list(&p.TimeoutRetries, 0, maxSeconds), c.list(&p.HTTPStatusRetries, leastStatus, greatestStatus)
		if once {
			retries, statuses = c.noRetries, c.noRetries
		}
		c.object(path, value, []entry{
			{"HttpTimeout", c.timeout(&p.HTTPTimeout)},
			{"TimeoutRetries", retries},
			{"HttpStatusRetries", statuses},
		})
	}
}

// object reads the keys of one JSON object in a stable order.
func (c *configurationReader) object(path string, value json.RawMessage, entries []entry) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(value, &object); err != nil {
		c.report(path, string(value), "is not a JSON object; the defaults hold")
		return
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(entries, func(e entry) bool { return strings.EqualFold(e.name, key) })
		switch {
		case i < 0:
			c.report("", join(path, key), "is ignored: unknown key, known are "+names(entries))
		case seen[entries[i].name]:
			c.report("", join(path, key), "is ignored: "+entries[i].name+" is there twice")
		default:
			seen[entries[i].name] = true
			c.value(join(path, entries[i].name), object[key], entries[i])
		}
	}
}

// value reads one value; null is the same as no key.
func (c *configurationReader) value(path string, value json.RawMessage, e entry) {
	if string(value) != "null" {
		e.read(path, value)
	}
}

func (c *configurationReader) timeout(target *int) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var seconds int
		if err := json.Unmarshal(value, &seconds); err != nil || seconds < 1 || seconds > maxSeconds {
			c.report(path, string(value), fmt.Sprintf("is not a whole number from 1 to %d; the default %d holds", maxSeconds, *target))
			return
		}
		*target = seconds
	}
}

func (c *configurationReader) list(target *[]int, least, greatest int) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		listed, ok := numberList(value, least, greatest)
		if !ok {
			want := fmt.Sprintf("is not a list of at most %d whole numbers from %d to %d; the default %s holds", maxListed, least, greatest, listText(*target))
			c.report(path, string(value), want)
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

func (c *configurationReader) noRetries(path string, value json.RawMessage) {
	c.report(path, string(value), "is ignored: a sync call has one attempt")
}

func (c *configurationReader) report(path, value, want string) {
	if path != "" {
		want = "at " + path + " " + want
	}
	c.problems = append(c.problems, Problem{Key: c.annotation, Value: value, Want: want})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func names(entries []entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.name)
	}
	return strings.Join(all, ", ")
}

func listText(list []int) string {
	text, err := json.Marshal(list)
	if err != nil {
		return "list"
	}
	return string(text)
}
