package local

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// The kinds of a value.
const (
	scalar = iota
	mapping
	sequence
)

// yamlValue is a piece of a YAML document as JSON sees it, which remembers its line.
type yamlValue struct {
	kind int
	// line is that of the key, or of the value itself in a list.
	line int
	// scalar is nil, a bool, a number or a string.
	scalar any
	// children are the fields of a mapping or the items of a sequence.
	children []*yamlValue
	// parent is the mapping that has this value under key, or the sequence that has it at index; nil at the top.
	parent *yamlValue
	key    string
	index  int
	// cut makes it null in encode.
	cut bool
}

// child goes down the keys, nil if one is not there.
func (v *yamlValue) child(keys ...string) *yamlValue {
	for _, key := range keys {
		v = v.field(key)
		if v == nil {
			return nil
		}
	}
	return v
}

func (v *yamlValue) field(key string) *yamlValue {
	if v.kind != mapping {
		return nil
	}
	for _, child := range v.children {
		if child.key == key {
			return child
		}
	}
	return nil
}

// text is the string below the keys, "" if there is none.
func (v *yamlValue) text(keys ...string) string {
	found := v.child(keys...)
	if found == nil {
		return ""
	}
	text, _ := found.scalar.(string)
	return text
}

// lineOf is the line of the deepest of the keys that is there.
func (v *yamlValue) lineOf(keys ...string) int {
	for _, key := range keys {
		child := v.field(key)
		if child == nil {
			break
		}
		v = child
	}
	return v.line
}

// find returns the value with the given path, in the spelling of path and of sigs.k8s.io/json, or nil.
func (v *yamlValue) find(path string) *yamlValue {
	if path == "" {
		return v
	}
	for _, child := range v.children {
		rest, found := strings.CutPrefix(path, child.step())
		if !found || rest != "" && rest[0] != '.' && rest[0] != '[' {
			continue
		}
		if found := child.find(strings.TrimPrefix(rest, ".")); found != nil {
			return found
		}
	}
	return nil
}

// step is the last part of the path.
func (v *yamlValue) step() string {
	if v.parent.kind == sequence {
		return "[" + strconv.Itoa(v.index) + "]"
	}
	return v.key
}

// path is where the value is, such as spec.template.spec.containers[0].image.
func (v *yamlValue) path() string {
	if v.parent == nil {
		return ""
	}
	parent := v.parent.path()
	if parent == "" || v.parent.kind == sequence {
		return parent + v.step()
	}
	return parent + "." + v.step()
}

// walk visits the value after everything that is in it.
func (v *yamlValue) walk(visit func(*yamlValue)) {
	for _, child := range v.children {
		child.walk(visit)
	}
	visit(v)
}

// count is how many values there are with this one.
func (v *yamlValue) count() int {
	count := 0
	v.walk(func(*yamlValue) { count++ })
	return count
}

// encode writes the value as JSON.
func (v *yamlValue) encode(w *bytes.Buffer) {
	switch {
	case v.cut:
		w.WriteString("null")
	case v.kind == mapping:
		v.encodeChildren(w, '{', '}')
	case v.kind == sequence:
		v.encodeChildren(w, '[', ']')
	default:
		w.Write(scalarJSON(v.scalar))
	}
}

func (v *yamlValue) encodeChildren(w *bytes.Buffer, open, end byte) {
	w.WriteByte(open)
	for i, child := range v.children {
		if i > 0 {
			w.WriteByte(',')
		}
		if v.kind == mapping {
			w.Write(scalarJSON(child.key))
			w.WriteByte(':')
		}
		child.encode(w)
	}
	w.WriteByte(end)
}

// scalarJSON cannot fail: the converter lets only values pass that JSON has.
func scalarJSON(scalar any) []byte {
	text, err := json.Marshal(scalar)
	if err != nil {
		return []byte("null")
	}
	return text
}
