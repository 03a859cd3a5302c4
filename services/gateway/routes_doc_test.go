package gateway

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// docs/functions.md has every route with its methods, and none that does not exist.
func TestRoutesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(/[^`]*)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(doc), -1) {
		documented[row[1]] = row[2]
	}
	served := map[string][]string{}
	f := start(t)
	for _, route := range f.routes().Routes() {
		path := documentedPath(route.Path)
		served[path] = append(served[path], route.Method)
	}
	for path, methods := range served {
		want := strings.Join(slices.Compact(slices.Sorted(slices.Values(methods))), ", ")
		if slices.Contains(methods, echo.RouteNotFound) {
			want = "any"
		}
		if documented[path] != want {
			t.Errorf("docs/functions.md says %q of %s, it takes %q", documented[path], path, want)
		}
	}
	if len(documented) != len(served) {
		t.Errorf("docs/functions.md has the routes %v, there are %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(served)))
	}
}

// documentedPath writes a route as the document does. A route without a path below it is in the same row as the one with.
func documentedPath(route string) string {
	for _, below := range []string{"/function/", "/async-function/", "/publish-event/"} {
		if strings.HasPrefix(route, below) {
			route = strings.TrimSuffix(route, "/*") + "/<path>"
		}
	}
	if below, ok := strings.CutSuffix(route, "/*"); ok {
		route = below + "/<path>"
	}
	return regexp.MustCompile(":([a-z]+)").ReplaceAllString(route, "<$1>")
}

// docs/functions.md has every header that answers of the gateway have.
func TestHeadersAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, headers, _ := strings.Cut(string(doc), "\n## Headers\n")
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`([A-Za-z-]+)`").FindAllStringSubmatch(headers, -1) {
		documented[http.CanonicalHeaderKey(name[1])] = true
	}
	for _, name := range []string{headerCallID, headerStart, headerDuration, headerColdStart, headerHeld, headerElementID, "Preference-Applied", "Retry-After", "Location"} {
		if !documented[name] {
			t.Errorf("docs/functions.md lacks the header %s", name)
		}
	}
}
