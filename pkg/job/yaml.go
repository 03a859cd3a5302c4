package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a YAML document with its aliases expanded.
const (
	maxYAMLDepth = 20
	maxYAMLBytes = 256 << 10 // of values, and of the path to each
)

// parseYAML returns a document as JSON, and the line of each value by its path in lower case. The error is a sentence with the line.
func parseYAML(text string) (json.RawMessage, map[string]int, error) {
	var document yaml.Node
	if len(text) > maxYAMLBytes {
		return nil, nil, fmt.Errorf("it has more than %d bytes", maxYAMLBytes)
	}
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return json.RawMessage("{}"), nil, nil
	}
	c := converter{lines: map[string]int{}}
	value, err := c.convert(document.Content[0], "")
	if err != nil {
		return nil, nil, err
	}
	if value == nil {
		value = tree{}
	}
	converted, err := json.Marshal(value)
	return converted, c.lines, err
}

// converter makes JSON of YAML nodes, and counts what it has made.
type converter struct {
	lines        map[string]int
	depth, bytes int
}

func (c *converter) convert(n *yaml.Node, path string) (value any, err error) {
	c.depth++
	defer func() { c.depth-- }()
	c.bytes += len(n.Value) + len(path)
	if c.depth > maxYAMLDepth || c.bytes > maxYAMLBytes {
		return nil, fmt.Errorf("line %d: it is too deep or too large (at most %d levels and %d bytes with aliases expanded)", n.Line, maxYAMLDepth, maxYAMLBytes)
	}
	if _, known := c.lines[strings.ToLower(path)]; !known {
		c.lines[strings.ToLower(path)] = n.Line
	}
	switch n.Kind {
	case yaml.AliasNode:
		return c.convert(n.Alias, path)
	case yaml.MappingNode:
		return c.mapping(n, path)
	case yaml.SequenceNode:
		return c.sequence(n, path)
	case yaml.ScalarNode:
		return scalar(n)
	}
	return nil, fmt.Errorf("line %d: there is something that is neither a mapping, a list nor a value", n.Line)
}

func (c *converter) mapping(n *yaml.Node, path string) (any, error) {
	object := tree{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is no word", name.Line)
		}
		if _, twice := object[name.Value]; twice {
			return nil, fmt.Errorf("line %d: the key %s is there twice", name.Line, quote(name.Value))
		}
		below := join(path, shorten(name.Value))
		c.lines[strings.ToLower(below)] = name.Line
		value, err := c.convert(n.Content[i+1], below)
		if err != nil {
			return nil, err
		}
		object[name.Value] = value
	}
	return object, nil
}

func (c *converter) sequence(n *yaml.Node, path string) (any, error) {
	items := []any{}
	for i, item := range n.Content {
		value, err := c.convert(item, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		items = append(items, value)
	}
	return items, nil
}

// scalar leaves what JSON has no type for, such as a date, the text that it is.
func scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		var value any
		if err := n.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: %s is no value of the type %s", n.Line, quote(n.Value), n.ShortTag())
		}
		if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, fmt.Errorf("line %d: %s is no number", n.Line, n.Value)
		}
		return value, nil
	}
	return n.Value, nil
}
