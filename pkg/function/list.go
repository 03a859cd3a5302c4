package function

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// list is an annotation whose value has several entries: with commas between them, or as a JSON array of texts.
type list[T comparable] struct {
	key string
	// parse reads one entry, which is not empty.
	parse func(f *Function, entry string) (T, *wrongEntry)
	field func(*Function) *[]T
}

// wrongEntry is an entry of a list that is wrong.
type wrongEntry struct {
	entry, want string
	// counts says that the entry has an effect all the same, which instead describes; else it is left out.
	counts  bool
	instead string
}

var dependencies = list[string]{
	key:   KeyDependsOn,
	parse: parseDependency,
	field: func(f *Function) *[]string { return &f.DependsOn },
}

func parseDependency(f *Function, entry string) (string, *wrongEntry) {
	switch {
	case !isLabel(entry):
		return "", leftOut("is no name of a workload: " + wantName)
	case entry == f.Name:
		return "", leftOut("is the function itself, which cannot wait for itself")
	}
	return entry, nil
}

func leftOut(want string) *wrongEntry { return &wrongEntry{want: want, instead: "it is left out"} }

// readList drops empty entries and repeated ones. If an entry is wrong, the last valid list holds, or where there is none, what can be
// used of this one.
func readList[T comparable](r *reader, l list[T]) {
	key, text, found := r.lookup(l.key)
	if !found {
		return
	}
	values, wrong := parseList(&r.function, l, text)
	kept := r.kept()
	last := *l.field(&kept)
	old := len(wrong) > 0 && len(last) > 0 && !slices.Equal(last, values)
	if old {
		values = last
	}
	*l.field(&r.function) = values
	for _, w := range wrong {
		if old {
			w.instead = "the last valid list holds"
		}
		r.report(key, w.entry, w.want+"; "+w.instead)
	}
}

func parseList[T comparable](f *Function, l list[T], text string) (values []T, wrong []wrongEntry) {
	entries, ok := splitList(text)
	if !ok {
		want := fmt.Sprintf("is neither a list with commas nor a JSON array of texts, of at most %d entries", maxListed)
		return nil, []wrongEntry{{entry: text, want: want, instead: "the list is empty"}}
	}
	for _, entry := range entries {
		value, w := l.parse(f, entry)
		if w != nil {
			w.entry = entry
			wrong = append(wrong, *w)
		}
		if (w == nil || w.counts) && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values, wrong
}

// splitList returns the entries without the spaces around them, and without empty ones.
func splitList(text string) (entries []string, ok bool) {
	pieces := strings.Split(text, ",")
	if strings.HasPrefix(text, "[") {
		pieces = nil
		var items []*string
		if err := json.Unmarshal([]byte(text), &items); err != nil || slices.Contains(items, nil) {
			return nil, false
		}
		for _, item := range items {
			pieces = append(pieces, *item)
		}
	}
	for _, piece := range pieces {
		if piece = strings.TrimSpace(piece); piece != "" {
			entries = append(entries, piece)
		}
	}
	if len(entries) > maxListed {
		return nil, false
	}
	return entries, true
}
