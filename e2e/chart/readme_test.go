package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// everyComponent stands in the README's table for the parts of the chart that have pods.
const everyComponent = "<component>."

var components = append([]string{"nats"}, services...)

// The README's table has every value of values.yaml with its default, and no other.
func TestReadmeHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartFolder(), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.UnmarshalStrict(text, &tree); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	leaves("", tree, values)
	documented := tableOfValues(t)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		have, is := documented[key]
		switch {
		case !is:
			t.Errorf("the README's table lacks %s, whose default is %s", key, values[key])
		case have != values[key]:
			t.Errorf("the README says that %s is %s, and it is %s", key, have, values[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(documented)) {
		if _, is := values[key]; !is {
			t.Errorf("the README has %s, which values.yaml has not", key)
		}
	}
}

// leaves puts what has no values below it into found, as JSON.
func leaves(path string, value any, found map[string]string) {
	if branch, is := value.(map[string]any); is && len(branch) > 0 {
		for key, below := range branch {
			leaves(strings.TrimPrefix(path+"."+key, "."), below, found)
		}
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte(err.Error())
	}
	found[path] = string(text)
}

// tableOfValues are the rows | `key` | `default` | meaning |.
func tableOfValues(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartFolder(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		key, value := strings.Trim(strings.TrimSpace(cells[0]), "`"), strings.Trim(strings.TrimSpace(cells[1]), "`")
		if strings.TrimSpace(cells[2]) == "" {
			t.Errorf("the README does not say what %s is", key)
		}
		for _, full := range expand(key) {
			if _, twice := found[full]; twice {
				t.Errorf("the README has %s twice", full)
			}
			found[full] = value
		}
	}
	return found
}

func expand(key string) []string {
	below, isForAll := strings.CutPrefix(key, everyComponent)
	if !isForAll {
		return []string{key}
	}
	var keys []string
	for _, component := range components {
		keys = append(keys, fmt.Sprintf("%s.%s", component, below))
	}
	return keys
}
