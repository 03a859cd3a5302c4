package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// tree is a JSON object as it is, numbers as they are written. What we do not know passes through it.
type tree = map[string]any

// template is a JobTemplateSpec with the parts of it that we look at or change.
type template struct {
	whole tree
	// job is its spec, and pod the spec of the pod template, with the containers and init containers.
	job, pod         tree
	containers, init []tree
}

func parseTemplate(text json.RawMessage) (t template, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&t.whole); err != nil {
		return t, fmt.Errorf("read the template of a job: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return t, errors.New("read the template of a job: there is something after its end")
	}
	var pod tree
	if t.job, err = child(t.whole, "spec"); err == nil {
		if pod, err = child(t.job, "template"); err == nil {
			t.pod, err = child(pod, "spec")
		}
	}
	if err != nil {
		return t, fmt.Errorf("read the template of a job: %w", err)
	}
	if t.containers, err = children(t.pod, "containers"); err != nil || len(t.containers) == 0 {
		return t, errors.New("read the template of a job: spec.template.spec.containers is no list of containers")
	}
	if t.init, err = children(t.pod, "initContainers"); err != nil {
		return t, errors.New("read the template of a job: spec.template.spec.initContainers is no list of containers")
	}
	return t, nil
}

// child is the object under a key, an empty one if there is none.
func child(parent tree, key string) (tree, error) {
	if parent[key] == nil {
		return tree{}, nil
	}
	object, ok := parent[key].(tree)
	if !ok {
		return nil, fmt.Errorf("%s is no object", key)
	}
	return object, nil
}

func children(parent tree, key string) ([]tree, error) {
	if parent[key] == nil {
		return nil, nil
	}
	items, ok := parent[key].([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no list", key)
	}
	all := make([]tree, 0, len(items))
	for _, item := range items {
		object, ok := item.(tree)
		if !ok {
			return nil, fmt.Errorf("%s has an element that is no object", key)
		}
		all = append(all, object)
	}
	return all, nil
}

// texts is an object of texts under a key. Other values are not there.
func textsOf(parent tree, key string) map[string]string {
	object, _ := parent[key].(tree)
	texts := make(map[string]string, len(object))
	for name, value := range object {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	return texts
}

func text(parent tree, key string) string {
	value, _ := parent[key].(string)
	return value
}

// number is a whole number under a key; ok is false if there is none.
func number(parent tree, key string) (value int64, ok bool) {
	written, ok := parent[key].(json.Number)
	if !ok {
		return 0, false
	}
	value, err := written.Int64()
	return value, err == nil
}

// set changes a list or object under a key; an empty one is left out, as Kubernetes does.
func set[T any](parent tree, key string, value T, empty bool) {
	if empty {
		delete(parent, key)
		return
	}
	parent[key] = value
}
