package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// reading reads a JSON document whose keys are found in any case, and collects what is wrong with it. What is refused leaves the target as it was.
type reading struct {
	// wrong are values that are refused, unknown are keys that nobody knows.
	wrong, unknown []fault
}

// fault is one thing that is wrong: where, and the rest of the sentence.
type fault struct{ path, text string }

func (f fault) String() string { return f.path + ": " + f.text }

// read takes the value at a path.
type read func(path string, value json.RawMessage)

// key is a key of an object, with another spelling if there is one.
type key struct {
	name, alias string
	read        read
	// refused says why a key that is known cannot be used.
	refused string
}

func (k key) is(written string) bool {
	return strings.EqualFold(k.name, written) || k.alias != "" && strings.EqualFold(k.alias, written)
}

// object reads an object with these keys, in a stable order. null is the same as no key.
func (r *reading) object(keys ...key) read {
	return func(path string, value json.RawMessage) {
		object, ok := r.entries(path, value)
		if !ok {
			return
		}
		seen := map[string]bool{}
		for _, written := range slices.Sorted(maps.Keys(object)) {
			i := slices.IndexFunc(keys, func(k key) bool { return k.is(written) })
			switch {
			case i < 0:
				r.unknown = append(r.unknown, fault{join(path, shorten(written)), "the key is unknown: known are " + names(keys)})
			case seen[keys[i].name]:
				r.refuse(join(path, written), object[written], "is there twice: "+keys[i].name+" can have one value")
			default:
				seen[keys[i].name] = true
				r.value(join(path, keys[i].name), object[written], keys[i])
			}
		}
	}
}

// each reads an object whose keys are free, at most most of them.
func (r *reading) each(most int, of func(key string) read) read {
	return func(path string, value json.RawMessage) {
		object, ok := r.entries(path, value)
		if ok && len(object) > most {
			r.refuse(path, value, fmt.Sprintf("has %d keys: at most %d are right", len(object), most))
			return
		}
		for _, written := range slices.Sorted(maps.Keys(object)) {
			r.value(join(path, shorten(written)), object[written], key{read: of(written)})
		}
	}
}

func (r *reading) entries(path string, value json.RawMessage) (object map[string]json.RawMessage, ok bool) {
	if err := json.Unmarshal(value, &object); err != nil {
		r.refuse(path, value, "is no JSON object: one such as {} is right")
		return nil, false
	}
	return object, true
}

func (r *reading) value(path string, value json.RawMessage, k key) {
	switch {
	case string(value) == "null":
	case k.refused != "":
		r.refuse(path, value, k.refused)
	default:
		k.read(path, value)
	}
}

// list reads each element of an array.
func (r *reading) list(most int, of read) read {
	return func(path string, value json.RawMessage) {
		var items []json.RawMessage
		if err := json.Unmarshal(value, &items); err != nil || len(items) > most {
			r.refuse(path, value, fmt.Sprintf("is no list: one of at most %d is right", most))
			return
		}
		for i, item := range items {
			of(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
}

// texts reads a list of texts, which is not nil afterwards; check, if there is one, says what is wrong with one of them and what would be right.
func (r *reading) texts(target *[]string, most int, check func(string) error) read {
	return func(path string, value json.RawMessage) {
		all, before := []string{}, len(r.wrong)
		r.list(most, func(path string, value json.RawMessage) {
			var one string
			r.text(&one, check)(path, value)
			all = append(all, one)
		})(path, value)
		if len(r.wrong) == before {
			*target = all
		}
	}
}

func (r *reading) text(target *string, check func(string) error) read {
	return func(path string, value json.RawMessage) {
		var text *string
		if err := json.Unmarshal(value, &text); err != nil || text == nil {
			r.refuse(path, value, "is no text: write it in quotes")
			return
		}
		if check != nil {
			if err := check(*text); err != nil {
				r.refuse(path, value, err.Error())
				return
			}
		}
		*target = *text
	}
}

// word reads one of the words, in any case.
func (r *reading) word(target *string, words ...string) read {
	return func(path string, value json.RawMessage) {
		var text string
		err := json.Unmarshal(value, &text)
		i := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, strings.TrimSpace(text)) })
		if err != nil || i < 0 {
			r.refuse(path, value, "is none of the words that are right: "+strings.Join(words, ", "))
			return
		}
		*target = words[i]
	}
}

func (r *reading) number(set func(int), least, greatest int) read {
	return func(path string, value json.RawMessage) {
		var number *int
		if err := json.Unmarshal(value, &number); err != nil || number == nil || *number < least || *number > greatest {
			r.refuse(path, value, fmt.Sprintf("is no whole number from %d to %d", least, greatest))
			return
		}
		set(*number)
	}
}

// quantity reads an amount of a resource, which may be written as a number.
func (r *reading) quantity(set func(string)) read {
	return func(path string, value json.RawMessage) {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		text = strings.TrimSpace(text)
		if _, err := parseQuantity(text); err != nil {
			r.refuse(path, value, err.Error())
			return
		}
		set(text)
	}
}

func (r *reading) refuse(path string, value json.RawMessage, text string) {
	r.wrong = append(r.wrong, fault{path, shortJSON(value) + " " + text})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func names(keys []key) string {
	var all []string
	for _, k := range keys {
		if k.refused == "" {
			all = append(all, k.name)
		}
	}
	return strings.Join(all, ", ")
}

// maxQuoted bounds how much of a value a sentence repeats, in bytes.
const maxQuoted = 100

// quote is a text as a sentence repeats it.
func quote(text string) string { return strconv.Quote(shorten(text)) }

func shortJSON(value json.RawMessage) string {
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return shorten(string(value))
	}
	return shorten(compact.String())
}

func shorten(text string) string {
	if len(text) <= maxQuoted {
		return text
	}
	return clip(text, maxQuoted) + "…"
}

// clip cuts a text to at most most bytes.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
