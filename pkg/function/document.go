package function

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxListed bounds the lists of annotations.
const maxListed = 100

// document reads the JSON of one annotation. Keys are found in any case; what is wrong is reported by its path.
type document struct {
	annotation string
	// holds ends the sentence about a value that is refused: what holds instead.
	holds string
	// refused says that a value was, in the part that is being read; a key that is ignored does not count.
	refused  bool
	problems []Problem
}

// entry is one key of a JSON object that may be set.
type entry struct {
	name string
	read func(path string, value json.RawMessage)
}

// fallback is what holds instead of something that is refused.
type fallback[T any] struct {
	value T
	// holds is the end of the sentence.
	holds string
}

// part makes a reader of what is one thing: if anything in it is refused, but for parts of its own, target becomes the fallback.
func part[T any](d *document, target *T, instead fallback[T], read func(string, json.RawMessage)) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		outer := *d
		d.holds, d.refused = instead.holds, false
		read(path, value)
		if d.refused {
			*target = instead.value
		}
		d.holds, d.refused = outer.holds, outer.refused
	}
}

// object reads the keys of one JSON object in a stable order.
func (d *document) object(path string, value json.RawMessage, entries []entry) {
	if !json.Valid(value) {
		d.refuse(path, string(value), "is no valid JSON")
		return
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(value, &object); err != nil {
		d.refuse(path, string(value), "is not a JSON object")
		return
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(entries, func(e entry) bool { return strings.EqualFold(e.name, key) })
		switch {
		case i < 0:
			d.report("", join(path, key), "is ignored: unknown key, known are "+names(entries))
		case seen[entries[i].name]:
			d.report("", join(path, key), "is ignored: "+entries[i].name+" is there twice")
		default:
			seen[entries[i].name] = true
			d.value(join(path, entries[i].name), object[key], entries[i])
		}
	}
}

// value reads one value; null is the same as no key.
func (d *document) value(path string, value json.RawMessage, e entry) {
	if string(value) != "null" {
		e.read(path, value)
	}
}

// list reads each element of a JSON array.
func (d *document) list(path string, value json.RawMessage, read func(path string, value json.RawMessage)) {
	var items []json.RawMessage
	if err := json.Unmarshal(value, &items); err != nil || len(items) > maxListed {
		d.refuse(path, string(value), fmt.Sprintf("is not a list of at most %d", maxListed))
		return
	}
	for i, item := range items {
		read(fmt.Sprintf("%s[%d]", path, i), item)
	}
}

// text reads a text of at most most bytes.
func (d *document) text(target *string, most int) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var text *string
		if err := json.Unmarshal(value, &text); err != nil || text == nil || len(*text) > most {
			d.refuse(path, string(value), fmt.Sprintf("is not a text of at most %d bytes", most))
			return
		}
		*target = strings.TrimSpace(*text)
	}
}

// word reads one of the words, in any case.
func (d *document) word(target *string, words ...string) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var text string
		err := json.Unmarshal(value, &text)
		i := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, strings.TrimSpace(text)) })
		if err != nil || i < 0 {
			d.refuse(path, string(value), "is not "+either(words))
			return
		}
		*target = words[i]
	}
}

func (d *document) flag(target *bool) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		if err := json.Unmarshal(value, target); err != nil {
			d.refuse(path, string(value), "is neither true nor false")
		}
	}
}

func (d *document) number(target *int, least, greatest int) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var number *int
		if err := json.Unmarshal(value, &number); err != nil || number == nil || *number < least || *number > greatest {
			d.refuse(path, string(value), fmt.Sprintf("is not a whole number from %d to %d", least, greatest))
			return
		}
		*target = *number
	}
}

// refuse reports a value that has no effect.
func (d *document) refuse(path, value, what string) {
	d.refused = true
	d.report(path, value, what+"; "+d.holds)
}

func (d *document) report(path, value, want string) {
	if path != "" {
		want = "at " + path + " " + want
	}
	d.problems = append(d.problems, Problem{Key: d.annotation, Value: value, Want: want})
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

// either lists words for a sentence.
func either(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, word := range words {
		quoted = append(quoted, `"`+word+`"`)
	}
	return strings.Join(quoted, " or ")
}
