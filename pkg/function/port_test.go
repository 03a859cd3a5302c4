package function_test

import (
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

func TestPortChoice(t *testing.T) {
	declared := []function.Port{{Name: "metrics", Number: 9090}, {Name: "http", Number: 8080}, {Number: 7000}}
	wrong := func(value string) string {
		return `annotation sluice/Port: "` + value + `" is neither a number from 1 to 65535 nor the name of a port of the pod; the first containerPort holds`
	}
	for _, c := range []struct {
		name     string
		workload map[string]string
		template map[string]string
		declared []function.Port
		want     int
		problem  string
	}{
		{name: "first declared", declared: declared, want: 9090},
		{name: "none", want: 0},
		{name: "by name", workload: map[string]string{"sluice/Port": "http"}, declared: declared, want: 8080},
		{name: "by number", workload: map[string]string{"SlimFaas/Port": " 7000 "}, declared: declared, want: 7000},
		{name: "a number that is not declared", template: map[string]string{"sluice/Port": "1"}, want: 1},
		{name: "the workload's own wins", workload: map[string]string{"SlimFaas/Port": "2"}, template: map[string]string{"sluice/Port": "1"}, want: 2},
		{name: "an unknown name", workload: map[string]string{"sluice/Port": "grpc"}, declared: declared, want: 9090, problem: wrong("grpc")},
		{name: "empty is not the nameless one", workload: map[string]string{"sluice/Port": ""}, declared: declared[2:], want: 7000, problem: wrong("")},
		{name: "zero", workload: map[string]string{"sluice/Port": "0"}, declared: declared, want: 9090, problem: wrong("0")},
		{name: "too large", workload: map[string]string{"sluice/Port": "65536"}, want: 0, problem: wrong("65536")},
		{name: "no sign", workload: map[string]string{"sluice/Port": "+80"}, want: 0, problem: wrong("+80")},
	} {
		got, problem := function.PortFromAnnotations(c.workload, c.template).Among(c.declared)
		said := ""
		if problem != nil {
			said = problem.String()
		}
		if got != c.want || said != c.problem {
			t.Errorf("%s: got %d, %q; want %d, %q", c.name, got, said, c.want, c.problem)
		}
	}
}
