package function

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Graph is who depends on whom among the functions of an installation, without cycles: functions that depend on each other in a
// circle could never start, so all that are on a circle depend on nothing, and Problem says so. It never changes, and its slices
// must not be changed.
type Graph struct {
	// dependsOn and dependents have no edge out of a function that is on a cycle.
	dependsOn, dependents map[string][]string
	// circles has, for each function on a cycle, its edges to those that are on a cycle with it.
	circles map[string][]string
}

// NewGraph makes the graph from the names that each function says it depends on. Names that are no function are kept: they may be
// workloads that are none, or not there yet.
func NewGraph(dependsOn map[string][]string) Graph {
	g := Graph{dependsOn: map[string][]string{}, dependents: map[string][]string{}, circles: circlesOf(dependsOn)}
	for _, name := range slices.Sorted(maps.Keys(dependsOn)) {
		if _, onCycle := g.circles[name]; onCycle || len(dependsOn[name]) == 0 {
			continue
		}
		g.dependsOn[name] = slices.Clone(dependsOn[name])
		for _, dependency := range slices.Compact(slices.Sorted(slices.Values(dependsOn[name]))) {
			g.dependents[dependency] = append(g.dependents[dependency], name)
		}
	}
	return g
}

// DependsOn returns what the function directly depends on, in the order of its annotation; nothing for one on a cycle.
func (g Graph) DependsOn(name string) []string { return g.dependsOn[name] }

// Dependents returns the functions that directly depend on name, sorted.
func (g Graph) Dependents(name string) []string { return g.dependents[name] }

// Problem is the sentence about the cycle that the function is on, or "".
func (g Graph) Problem(name string) string {
	if _, onCycle := g.circles[name]; !onCycle {
		return ""
	}
	return "annotation DependsOn is a cycle: " + strings.Join(shorten(g.cycle(name)), " → ") +
		"; it is refused: the functions on it start without waiting for another"
}

// cycle is the shortest way from the function back to itself.
func (g Graph) cycle(name string) []string {
	from := map[string]string{}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g.circles[queue[0]] {
			if _, seen := from[next]; seen {
				continue
			}
			from[next] = queue[0]
			queue = append(queue, next)
		}
	}
	way := []string{name}
	for at := from[name]; at != name; at = from[at] {
		way = append(way, at)
	}
	way = append(way, name)
	slices.Reverse(way)
	return way
}

// maxCycleNames bounds the sentence.
const maxCycleNames = 12

func shorten(way []string) []string {
	left := len(way) - maxCycleNames
	if left <= 0 {
		return way
	}
	return slices.Concat(way[:maxCycleNames-1], []string{"(" + strconv.Itoa(left) + " more)"}, way[len(way)-1:])
}

// circlesOf keeps the edges between functions that are on a common cycle.
func circlesOf(dependsOn map[string][]string) map[string][]string {
	s := &components{dependsOn: dependsOn, order: map[string]int{}, low: map[string]int{}, of: map[string]int{}}
	for _, name := range slices.Sorted(maps.Keys(dependsOn)) {
		s.visit(name)
	}
	circles := map[string][]string{}
	for name, dependencies := range dependsOn {
		for _, dependency := range dependencies {
			if dependency == name || s.of[dependency] == s.of[name] {
				circles[name] = append(circles[name], dependency)
			}
		}
	}
	return circles
}

// components finds the strongly connected components (Tarjan's algorithm): two functions are on a common cycle exactly if they
// are in the same one.
type components struct {
	dependsOn map[string][]string
	// order counts the visits from 1; low is the least order that is reachable and still open.
	order, low map[string]int
	// of is the number of a function's component, once it is known.
	of    map[string]int
	open  []string
	known int
}

func (s *components) visit(name string) {
	if s.order[name] > 0 {
		return
	}
	s.order[name] = len(s.order) + 1
	s.low[name] = s.order[name]
	s.open = append(s.open, name)
	for _, dependency := range s.dependsOn[name] {
		s.visit(dependency)
		if s.of[dependency] == 0 {
			s.low[name] = min(s.low[name], s.low[dependency])
		}
	}
	if s.low[name] == s.order[name] {
		s.known++
		s.close(name)
	}
}

// close gives the component that was entered by first its number.
func (s *components) close(first string) {
	for {
		last := s.open[len(s.open)-1]
		s.open = s.open[:len(s.open)-1]
		s.of[last] = s.known
		if last == first {
			return
		}
	}
}
