package function

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxReplicas is the largest count that an annotation may ask for.
const MaxReplicas = 10_000

// maxParallel bounds the two limits of concurrent calls.
const maxParallel = 100_000

// maxIdleSeconds is one year.
const maxIdleSeconds = 365 * 24 * 3600

// Annotations are those of a workload and of its pod template.
type Annotations struct{ Workload, Template map[string]string }

// FromAnnotations reads the specification of a function from the annotations of its workload and of the workload's
// pod template; Lookup has the order in which they win. isFunction is true only where the annotation Function is
// "true" (in any case) and the name is a DNS label. A value that is wrong never stops a function: its last valid one holds,
// which is that of last, or its default where last is nil, and a Problem says so. Reading the same annotations again with the
// answer as last gives the same answer.
func FromAnnotations(name, kind string, annotations Annotations, last *Function) (f Function, isFunction bool, problems []Problem) {
	r := reader{annotations: annotations, function: Defaults(name, kind), last: last}
	switch r.readFunction(name) {
	case switchOff:
		return Function{}, false, r.problems
	case switchAbsent:
		return Function{}, false, keyProblems(annotations)
	}
	for _, n := range numbers {
		r.readNumber(n)
	}
	readChoice(&r, visibilities)
	readChoice(&r, trusts)
	readChoice(&r, wakes)
	readChoice(&r, protocols)
	readList(&r, dependencies)
	readList(&r, pathRules)
	readList(&r, subscriptions)
	r.readConfiguration()
	r.readSchedule()
	r.readScale()
	r.problems = append(r.problems, keyProblems(annotations)...)
	return r.function, true, r.problems
}

// Defaults is the specification of a function that has no annotation but Function.
func Defaults(name, kind string) Function {
	f := Function{Name: name, Kind: kind, DefaultVisibility: Public, DefaultTrust: Trusted, Configuration: defaultConfiguration()}
	for _, n := range numbers {
		*n.field(&f) = n.standard
	}
	return f
}

// number is an annotation whose value is a whole number.
type number struct {
	key             string
	least, greatest int
	standard        int
	field           func(*Function) *int
}

var numbers = []number{
	{KeyReplicasMin, 0, MaxReplicas, 0, func(f *Function) *int { return &f.ReplicasMin }},
	{KeyReplicasAtStart, 1, MaxReplicas, 1, func(f *Function) *int { return &f.ReplicasAtStart }},
	{KeyTimeout, 0, maxIdleSeconds, 300, func(f *Function) *int { return &f.TimeoutSecondBeforeSetReplicasMin }},
	{KeyNumberParallelRequest, 1, maxParallel, 10, func(f *Function) *int { return &f.NumberParallelRequest }},
	{KeyNumberParallelRequestPerPod, 1, maxParallel, 0, func(f *Function) *int { return &f.NumberParallelRequestPerPod }},
}

// reader fills in one function and collects what is wrong.
type reader struct {
	annotations Annotations
	function    Function
	// last is the function as it was, nil if it is new.
	last     *Function
	problems []Problem
}

// kept is the function whose values hold where the annotations have none that is valid.
func (r *reader) kept() Function {
	if r.last != nil {
		return *r.last
	}
	return Defaults(r.function.Name, r.function.Kind)
}

// lookup finds the strongest annotation with one of the keys.
func (r *reader) lookup(keys ...string) (written, value string, found bool) {
	return lookup(keys, r.annotations)
}

func (r *reader) report(key, value, want string) {
	r.problems = append(r.problems, Problem{Key: key, Value: value, Want: want})
}

// The answers to whether a workload is a function.
const (
	switchAbsent = iota
	switchOff
	switchOn
)

func (r *reader) readFunction(name string) int {
	key, value, found := r.lookup(KeyFunction)
	switch {
	case !found:
		return switchAbsent
	case strings.EqualFold(value, "false"):
		return switchOff
	case !strings.EqualFold(value, "true"):
		r.report(key, value, `is neither "true" nor "false"; the workload is no function`)
		return switchOff
	case !isLabel(name):
		r.report(key, name, "is no name for a function: "+wantName)
		return switchOff
	}
	return switchOn
}

func (r *reader) readNumber(n number) {
	key, value, found := r.lookup(n.key)
	if !found {
		return
	}
	parsed, err := strconv.Atoi(value)
	if err != nil || parsed < n.least || parsed > n.greatest {
		kept := r.kept()
		*n.field(&r.function) = *n.field(&kept)
		r.report(key, value, fmt.Sprintf("is not a whole number from %d to %d; %s", n.least, n.greatest, n.holds(*n.field(&kept))))
		return
	}
	*n.field(&r.function) = parsed
}

func (n number) holds(kept int) string {
	if n.key == KeyNumberParallelRequestPerPod && kept == 0 {
		return "there is no limit per replica"
	}
	return valueHolds(kept, n.standard)
}
