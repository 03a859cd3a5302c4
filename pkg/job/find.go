package job

import (
	"slices"
	"strings"
)

// Find resolves a name in a URL or a subject: the name, then in lower case, then an alias, then the fallback. What could not be the name of any job finds nothing. Nor does the
// name of a definition that is refused, which the fallback does not stand for: then the definition is returned for its reason, with found false.
func Find(name string, definitions map[string]Definition) (d Definition, found bool) {
	lower := strings.ToLower(name)
	for _, exact := range []string{name, lower} {
		if d, there := definitions[exact]; there {
			return d, d.Refused == ""
		}
	}
	if !isLabel(labelOf(name)) {
		return Definition{}, false
	}
	alias := func(d Definition) bool { return slices.Contains(d.Aliases, name) || slices.Contains(d.Aliases, lower) }
	if d, there := firstOf(definitions, alias); there {
		return d, d.Refused == ""
	}
	return firstOf(definitions, func(d Definition) bool { return d.Fallback && d.Refused == "" })
}

// firstOf is the one that fits with the smallest name, so that everybody finds the same.
func firstOf(definitions map[string]Definition, fits func(Definition) bool) (first Definition, found bool) {
	for _, d := range definitions {
		if fits(d) && (!found || d.Name < first.Name) {
			first, found = d, true
		}
	}
	return first, found
}

// labelOf is a name of SlimFaas as a DNS label, if it can be one.
func labelOf(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }
