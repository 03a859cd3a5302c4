package job

import (
	"bytes"
	"encoding/json"
	"slices"
)

// RequestHash is the same for requests that ask for the same: of the parsed body without its runId, the path and the name. The order and the case of keys, spaces and
// keys that are null do not count.
func RequestHash(m Message) string {
	const hashed = 26
	parts, err := json.Marshal([]string{m.Definition, m.Path, canonicalBody(m.Body)})
	if err != nil { // texts can always be marshalled
		return ""
	}
	return shortHash(parts, hashed)
}

// canonicalBody is the body itself where it does not say one thing alone.
func canonicalBody(body []byte) string {
	if len(bytes.TrimSpace(body)) == 0 {
		return "{}"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var parsed tree
	if ValidBody(body) != nil || decoder.Decode(&parsed) != nil {
		return "raw " + string(body)
	}
	canonical, ok := canonicalObject(parsed, requestShape())
	if !ok {
		return "raw " + string(body)
	}
	delete(canonical, "runId")
	text, err := json.Marshal(canonical)
	if err != nil {
		return "raw " + string(body)
	}
	return string(text)
}

// shape is a key of an object that may be written in any case, with those of the objects below it.
type shape struct {
	key
	below []shape
}

// requestShape are the keys of a request. Those of labels and of amounts are free.
func requestShape() []shape {
	reference := shapes("name", "key", "optional", "fieldPath", "apiVersion", "containerName", "resource", "divisor")
	from := shapes("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")
	variable := append(shapes("name", "value"), append(shapes("secretRef", "configMapRef"), from...)...)
	for i := range from {
		from[i].below = reference
	}
	for i := range variable[2:] {
		variable[2+i].below = reference
	}
	variable = append(variable, shape{key{name: "valueFrom"}, from})
	var all []shape
	for _, k := range (&request{}).keys(&reading{}) {
		below := map[string][]shape{fieldEnv: variable, fieldResources: shapes("requests", "limits")}[k.name]
		all = append(all, shape{k, below})
	}
	return all
}

func shapes(names ...string) (all []shape) {
	for _, name := range names {
		all = append(all, shape{key: key{name: name}})
	}
	return all
}

// canonicalObject is false where one key is there in two spellings.
func canonicalObject(object tree, shapes []shape) (canonical tree, ok bool) {
	canonical = tree{}
	for written, value := range object {
		if value == nil {
			continue
		}
		one := shape{key: key{name: written}}
		if i := slices.IndexFunc(shapes, func(s shape) bool { return s.is(written) }); i >= 0 {
			one = shapes[i]
		}
		if _, twice := canonical[one.name]; twice {
			return nil, false
		}
		if canonical[one.name], ok = canonicalValue(value, one.below); !ok {
			return nil, false
		}
	}
	return canonical, true
}

func canonicalValue(value any, shapes []shape) (canonical any, ok bool) {
	switch value := value.(type) {
	case tree:
		return canonicalObject(value, shapes)
	case []any:
		for i := range value {
			if value[i], ok = canonicalValue(value[i], shapes); !ok {
				return nil, false
			}
		}
	}
	return value, true
}
