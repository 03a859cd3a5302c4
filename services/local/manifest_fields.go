package local

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
)

// unknownField finds the place of an error such as: unknown field "spec.replcas".
func unknownField(root *yamlValue, kind string, err error) Notice {
	_, path, _ := strings.Cut(err.Error(), `"`)
	path = strings.TrimSuffix(path, `"`)
	found := root.find(path)
	if found == nil {
		return Notice{Line: root.line, Text: err.Error()}
	}
	text := "there is no such field"
	if near := function.Nearest(found.key, fieldNames(typeOf(found.parent, roots[kind]))); near != "" {
		text += fmt.Sprintf(", did you mean %s?", near)
	}
	return Notice{Line: found.line, Key: found.path(), Text: text}
}

// typeOf is the Go type that v is decoded into, nil if that cannot be said.
func typeOf(v *yamlValue, root reflect.Type) reflect.Type {
	if v.parent == nil {
		return root
	}
	parent := typeOf(v.parent, root)
	switch {
	case parent == nil:
		return nil
	case parent.Kind() == reflect.Slice || parent.Kind() == reflect.Map:
		return indirect(parent.Elem())
	}
	for _, field := range jsonFields(parent) {
		if jsonName(field) == v.key {
			return indirect(field.Type)
		}
	}
	return nil
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func jsonFields(t reflect.Type) []reflect.StructField {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return slices.DeleteFunc(reflect.VisibleFields(t), func(field reflect.StructField) bool {
		return jsonName(field) == ""
	})
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for _, field := range jsonFields(t) {
		names = append(names, jsonName(field))
	}
	return names
}
