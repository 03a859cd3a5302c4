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

// FromAnnotations reads the specification of a function from the annotations of its workload and of the workload's
// pod template; Lookup has the order in which they win. isFunction is true only where the annotation Function is
// "true" (in any case) and the name is a DNS label. A value that is wrong never stops a function: its default holds
// and a Problem says so.
func FromAnnotations(name, kind string, workload, template map[string]string) (f Function, isFunction bool, problems []Problem) {
	r := reader{workload: workload, template: template, function: Defaults(name, kind)}
	switch r.readFunction(name) {
	case switchOff:
		return Function{}, false, r.problems
	case switchAbsent:
		return Function{}, false, keyProblems(workload, template, isUnknownKey)
	}
	for _, n := range numbers {
		r.readNumber(n)
	}
	r.readVisibility()
	r.readConfiguration()
	r.problems = append(r.problems, keyProblems(workload, template, anyKey)...)
	return r.function, true, r.problems
}

// Defaults is the specification of a function that has no annotation but Function.
func Defaults(name, kind string) Function {
	f := Function{Name: name, Kind: kind, DefaultVisibility: Public, Configuration: defaultConfiguration()}
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

// want is the end of the sentence about a value that is wrong.
func (n number) want() string {
	standard := "the default " + strconv.Itoa(n.standard) + " holds"
	if n.key == KeyNumberParallelRequestPerPod {
		standard = "there is no limit per replica"
	}
	return fmt.Sprintf("is not a whole number from %d to %d; %s", n.least, n.greatest, standard)
}

// reader fills in one function and collects what is wrong.
type reader struct {
	workload, template map[string]string
	function           Function
	problems           []Problem
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
	key, value, found := Lookup(KeyFunction, r.workload, r.template)
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
	key, value, found := Lookup(n.key, r.workload, r.template)
	if !found {
		return
	}
	parsed, err := strconv.Atoi(value)
	if err != nil || parsed < n.least || parsed > n.greatest {
		r.report(key, value, n.want())
		return
	}
	*n.field(&r.function) = parsed
}

func (r *reader) readVisibility() {
	key, value, found := Lookup(KeyDefaultVisibility, r.workload, r.template)
	switch {
	case !found:
	case strings.EqualFold(value, string(Public)):
		r.function.DefaultVisibility = Public
	case strings.EqualFold(value, string(Private)):
		r.function.DefaultVisibility = Private
	default:
		r.report(key, value, `is neither "Public" nor "Private"; the default Public holds`)
	}
}

func (r *reader) readConfiguration() {
	key, value, found := Lookup(KeyConfiguration, r.workload, r.template)
	if !found {
		return
	}
	c := configurationReader{annotation: key, result: defaultConfiguration()}
	c.read(value)
	r.function.Configuration = c.result
	r.problems = append(r.problems, c.problems...)
}

func anyKey(string) bool { return true }

// isUnknownKey keeps to the keys that nobody knows: on a workload that is no function, they hint at a mistyped
// Function annotation, while the known ones only wait for it.
func isUnknownKey(key string) bool { return keyProblem("", key) != "is not in force yet" }
