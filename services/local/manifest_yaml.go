package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one YAML file with its aliases expanded.
const (
	maxYAMLDepth  = 100
	maxYAMLValues = 500_000
	maxYAMLBytes  = 16 << 20
)

// yamlBudget is how much of the bounds the documents of one file have used.
type yamlBudget struct{ values, bytes int }

// yamlError is what is wrong with a document as YAML, and where.
type yamlError struct {
	line int
	text string
}

func (e *yamlError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// yamlPart is a piece of a file between two lines of "---".
type yamlPart struct {
	content []byte
	// before is how many lines of the file come before it.
	before int
}

// splitDocuments cuts a file before each "---" at the start of a line. A YAML parser cannot go on behind an error, so
// each document gets a parser of its own.
func splitDocuments(content []byte) []yamlPart {
	var parts []yamlPart
	start, first, line := 0, 0, 0
	for offset := 0; offset < len(content); line++ {
		end := len(content)
		if i := bytes.IndexByte(content[offset:], '\n'); i >= 0 {
			end = offset + i + 1
		}
		if isSeparator(content[offset:end]) && !onlyDirectives(content[start:offset]) {
			parts = append(parts, yamlPart{content[start:offset], first})
			start, first = offset, line
		}
		offset = end
	}
	return append(parts, yamlPart{content[start:], first})
}

func isSeparator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// onlyDirectives says whether there is nothing but %YAML or %TAG lines and comments, which belong to what follows.
func onlyDirectives(content []byte) bool {
	if !bytes.HasPrefix(content, []byte("%")) && !bytes.Contains(content, []byte("\n%")) {
		return false
	}
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '%' && line[0] != '#' {
			return false
		}
	}
	return true
}

// parseYAML returns the documents of one part, mostly one, and the error that ended the parsing if there was one.
func parseYAML(p yamlPart, used *yamlBudget) ([]*yamlValue, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(p.content))
	var documents []*yamlValue
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
			return documents, nil
		} else if err != nil {
			return documents, syntaxError(err, p.before)
		}
		c := converter{before: p.before, yamlBudget: used}
		root, err := c.convert(&node, nil)
		if err != nil {
			return documents, err
		}
		if root.kind != scalar || root.scalar != nil {
			documents = append(documents, root)
		}
	}
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func syntaxError(err error, before int) error {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if match := yamlLine.FindStringSubmatch(err.Error()); match != nil {
		text = err.Error()[len(match[0]):]
		if n, err := strconv.Atoi(match[1]); err == nil {
			line = n
		}
	}
	return &yamlError{before + line, "the document is no valid YAML: " + text}
}

// converter makes values of YAML nodes, with aliases and merge keys expanded within bounds.
type converter struct {
	*yamlBudget
	before, depth int
}

func (c *converter) fail(n *yaml.Node, format string, args ...any) error {
	return &yamlError{c.before + n.Line, fmt.Sprintf(format, args...)}
}

func (c *converter) convert(n *yaml.Node, parent *yamlValue) (*yamlValue, error) {
	c.depth++
	defer func() { c.depth-- }()
	c.values, c.bytes = c.values+1, c.bytes+len(n.Value)
	if c.depth > maxYAMLDepth || c.values > maxYAMLValues || c.bytes > maxYAMLBytes {
		return nil, c.fail(n, "the file is too deep or too large (at most %d levels, %d values and %d MiB with aliases expanded)", maxYAMLDepth, maxYAMLValues, maxYAMLBytes>>20)
	}
	v := &yamlValue{line: c.before + n.Line, parent: parent}
	switch n.Kind {
	case yaml.DocumentNode:
		return c.convert(n.Content[0], parent)
	case yaml.AliasNode:
		return c.alias(n, parent)
	case yaml.MappingNode:
		v.kind = mapping
		return v, c.mapping(n, v)
	case yaml.SequenceNode:
		v.kind = sequence
		return v, c.sequence(n, v)
	case yaml.ScalarNode:
		return v, c.scalar(n, v)
	}
	return nil, c.fail(n, "the document has something that is neither a mapping, a list nor a value")
}

// alias expands what an alias stands for; its line stays that of the alias.
func (c *converter) alias(n *yaml.Node, parent *yamlValue) (*yamlValue, error) {
	v, err := c.convert(n.Alias, parent)
	if err == nil {
		v.line = c.before + n.Line
	}
	return v, err
}

func (c *converter) sequence(n *yaml.Node, v *yamlValue) error {
	for i, item := range n.Content {
		child, err := c.convert(item, v)
		if err != nil {
			return err
		}
		child.index = i
		v.children = append(v.children, child)
	}
	return nil
}

func (c *converter) mapping(n *yaml.Node, v *yamlValue) error {
	places := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, content := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, content)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return c.fail(key, "a key is a mapping or a list: it must be a word")
		}
		if first, twice := places[key.Value]; twice {
			return c.fail(n.Content[i], "the key %q is there twice, first in line %d", key.Value, first)
		}
		places[key.Value] = c.before + n.Content[i].Line
		if err := c.field(n.Content[i], content, v); err != nil {
			return err
		}
	}
	return c.merge(merged, v, places)
}

// field adds one key of a mapping. The place of a value is that of its key.
func (c *converter) field(key, content *yaml.Node, v *yamlValue) error {
	child, err := c.convert(content, v)
	if err != nil {
		return err
	}
	child.key, child.line = key.Value, c.before+key.Line
	if key.Kind == yaml.AliasNode {
		child.key = key.Alias.Value
	}
	c.bytes += len(child.key)
	v.children = append(v.children, child)
	return nil
}

// merge adds the fields of "<<" that the mapping does not have itself (https://yaml.org/type/merge.html).
func (c *converter) merge(sources []*yaml.Node, v *yamlValue, places map[string]int) error {
	for _, source := range sources {
		merged, err := c.convert(source, v)
		if err != nil {
			return err
		}
		mappings := []*yamlValue{merged}
		if merged.kind == sequence {
			mappings = merged.children
		}
		for _, m := range mappings {
			if m.kind != mapping {
				return c.fail(source, "<< merges mappings only")
			}
			for _, child := range m.children {
				if _, own := places[child.key]; !own {
					places[child.key] = child.line
					child.parent = v
					v.children = append(v.children, child)
				}
			}
		}
	}
	return nil
}

// scalar decodes one value. What JSON has no type for (dates, binary, unknown tags) stays the text that it is.
func (c *converter) scalar(n *yaml.Node, v *yamlValue) error {
	v.scalar = n.Value
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		var decoded any
		if err := n.Decode(&decoded); err != nil {
			return c.fail(n, "%q is no value of the type %s", n.Value, n.ShortTag())
		}
		if number, ok := decoded.(float64); ok && (math.IsNaN(number) || math.IsInf(number, 0)) {
			return c.fail(n, "%s is no number that a manifest can have", n.Value)
		}
		v.scalar = decoded
	}
	return nil
}
