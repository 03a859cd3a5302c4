package function_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestGraphWithoutCycle(t *testing.T) {
	g := function.NewGraph(map[string][]string{"a": {"c", "b", "c"}, "b": {"c"}, "c": {"mysql"}, "d": nil})
	for _, c := range []struct {
		name                  string
		dependsOn, dependents []string
	}{
		{"a", []string{"c", "b", "c"}, nil},
		{"b", []string{"c"}, []string{"a"}},
		{"c", []string{"mysql"}, []string{"a", "b"}},
		{"d", nil, nil},
		{"mysql", nil, []string{"c"}},
		{"unknown", nil, nil},
	} {
		if got := g.DependsOn(c.name); !slices.Equal(got, c.dependsOn) {
			t.Errorf("%s depends on %v, want %v", c.name, got, c.dependsOn)
		}
		if got := g.Dependents(c.name); !slices.Equal(got, c.dependents) {
			t.Errorf("on %s depend %v, want %v", c.name, got, c.dependents)
		}
		if got := g.Problem(c.name); got != "" {
			t.Errorf("%s has a problem: %s", c.name, got)
		}
	}
}

// TestRow23Cycle: those on a cycle wait for nobody and say why; the others are as before.
func TestRow23Cycle(t *testing.T) {
	const end = "; it is refused: the functions on it start without waiting for another"
	g := function.NewGraph(map[string][]string{
		"a": {"b", "mysql"}, "b": {"c"}, "c": {"a", "b"}, "before": {"a"}, "self": {"self"}, "leaf": {}, "d": {"leaf"},
	})
	for name, want := range map[string]string{
		"a":    "annotation DependsOn is a cycle: a → b → c → a" + end,
		"b":    "annotation DependsOn is a cycle: b → c → b" + end,
		"c":    "annotation DependsOn is a cycle: c → b → c" + end,
		"self": "annotation DependsOn is a cycle: self → self" + end,
		"d":    "", "before": "", "leaf": "", "mysql": "",
	} {
		if got := g.Problem(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if want != "" && len(g.DependsOn(name)) > 0 {
			t.Errorf("%s is on a cycle and depends on %v", name, g.DependsOn(name))
		}
	}
	if !slices.Equal(g.DependsOn("before"), []string{"a"}) || !slices.Equal(g.Dependents("a"), []string{"before"}) || len(g.Dependents("mysql")) > 0 {
		t.Errorf("before: %v, a: %v, mysql: %v", g.DependsOn("before"), g.Dependents("a"), g.Dependents("mysql"))
	}
}

func TestLongCycleIsShortened(t *testing.T) {
	const count = 10_000
	ring := map[string][]string{}
	for i := range count {
		ring[fmt.Sprint("f", i)] = []string{fmt.Sprint("f", (i+1)%count)}
	}
	problem := function.NewGraph(ring).Problem("f0")
	if !strings.Contains(problem, "f0 → f1 → ") || !strings.Contains(problem, " → (9989 more) → f0;") || len(problem) > 300 {
		t.Errorf("got %s", problem)
	}
}

// reaches is the plain reading: whether there is a way of at least one edge.
func reaches(edges map[string][]string, from, to string) bool {
	seen := map[string]bool{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range edges[queue[0]] {
			if next == to {
				return true
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return false
}

func TestGraphProperties(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		edges := map[string][]string{}
		count := 1 + random.IntN(8)
		for range random.IntN(2 * count) {
			from := fmt.Sprint(random.IntN(count))
			edges[from] = append(edges[from], fmt.Sprint(random.IntN(count+1)))
		}
		g := function.NewGraph(edges)
		left := map[string][]string{}
		for i := range count + 1 {
			name := fmt.Sprint(i)
			left[name] = g.DependsOn(name)
			requireCycle(t, edges, g, name)
			for _, dependency := range g.DependsOn(name) {
				if !slices.Contains(g.Dependents(dependency), name) {
					t.Fatalf("seed %d: %s depends on %s, but is none of %v", seed, name, dependency, g.Dependents(dependency))
				}
			}
			for _, dependent := range g.Dependents(name) {
				if !slices.Contains(g.DependsOn(dependent), name) {
					t.Fatalf("seed %d: %s is a dependent of %s, but depends on %v", seed, dependent, name, g.DependsOn(dependent))
				}
			}
		}
		for name := range left {
			if reaches(left, name, name) {
				t.Fatalf("seed %d: %s is still on a cycle: %v", seed, name, left)
			}
		}
	}
}

// requireCycle: a function has a problem exactly if it is on a cycle, and it names a way that exists.
func requireCycle(t *testing.T, edges map[string][]string, g function.Graph, name string) {
	t.Helper()
	problem, onCycle := g.Problem(name), reaches(edges, name, name)
	if (problem != "") != onCycle {
		t.Fatalf("%v: %s is on a cycle is %v, problem %q", edges, name, onCycle, problem)
	}
	if !onCycle {
		if !slices.Equal(g.DependsOn(name), edges[name]) {
			t.Fatalf("%v: %s depends on %v", edges, name, g.DependsOn(name))
		}
		return
	}
	sentence, _, _ := strings.Cut(strings.TrimPrefix(problem, "annotation DependsOn is a cycle: "), ";")
	way := strings.Split(sentence, " → ")
	if way[0] != name || way[len(way)-1] != name {
		t.Fatalf("%v: the cycle of %s is %v", edges, name, way)
	}
	for i := range len(way) - 1 {
		if !slices.Contains(edges[way[i]], way[i+1]) {
			t.Fatalf("%v: the cycle of %s has no way from %s to %s", edges, name, way[i], way[i+1])
		}
	}
}
