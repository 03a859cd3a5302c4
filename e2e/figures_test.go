package e2e

import (
	"fmt"
	"strings"
)

// figures are what was measured, in the order in which it was.
type figures struct {
	lines []figure
}

// figure is one line of the table. Hold is empty where nothing is asked of it.
type figure struct {
	name, value, hold string
	ok                bool
}

// add notes a figure that nothing is asked of.
func (f *figures) add(name, format string, values ...any) {
	f.lines = append(f.lines, figure{name: name, value: fmt.Sprintf(format, values...)})
}

// hold notes a figure that must not be above a limit. One that is does not fail the test, because a busy machine is no defect; it is marked.
func (f *figures) hold(name string, value, limit float64, unit string) {
	f.lines = append(f.lines, figure{
		name: name, value: strings.TrimSpace(fmt.Sprintf("%.4g %s", value, unit)), hold: strings.TrimSpace(fmt.Sprintf("≤ %.4g %s", limit, unit)), ok: value <= limit,
	})
}

// String is the table.
func (f *figures) String() string {
	var text strings.Builder
	text.WriteString("figure | value | hold | ok\n--- | --- | --- | ---\n")
	for _, l := range f.lines {
		verdict := ""
		if l.hold != "" {
			verdict = "MISSED"
			if l.ok {
				verdict = "yes"
			}
		}
		fmt.Fprintf(&text, "%s | %s | %s | %s\n", l.name, l.value, l.hold, verdict)
	}
	return text.String()
}
