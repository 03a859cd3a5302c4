package chart

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Where a question is asked.
const (
	here     = "here"     // the release's namespace
	there    = "there"    // another namespace
	anywhere = "anywhere" // all namespaces, or a resource without one
)

// forAll is what Kubernetes lets every account do: ask about itself.
var forAll = []string{
	"anywhere authentication.k8s.io/selfsubjectreviews create",
	"anywhere authorization.k8s.io/selfsubjectaccessreviews create",
	"anywhere authorization.k8s.io/selfsubjectrulesreviews create",
}

// allowed is what each service account of the chart may do, and all of it: where, resource, name of the object if only that one, verbs.
var allowed = map[string][]string{
	"default":           {},
	"sluice-gateway":    {},
	"sluice-dispatcher": {},
	"sluice-nats":       {},
	"sluice-scaler": {
		"here pods list,patch,watch",
		"here services list,watch",
		"here events create",
		"here apps/deployments list,watch",
		"here apps/deployments/scale get,update",
		"here apps/replicasets list,watch",
		"here apps/statefulsets list,watch",
		"here apps/statefulsets/scale get,update",
		"here coordination.k8s.io/leases create",
		"here coordination.k8s.io/leases=sluice-scaler create,get,update",
	},
	"sluice-jobrunner": {
		"here pods list,watch",
		"here pods/log get",
		"here events create,list,watch",
		"here apps/deployments list,watch",
		"here apps/statefulsets list,watch",
		"here batch/cronjobs list,watch",
		"here batch/jobs create,delete,get,list,patch,watch",
		"here coordination.k8s.io/leases create",
		"here coordination.k8s.io/leases=sluice-jobrunner create,get,update",
	},
	"sluice-credentials": {
		"here secrets create",
		"here secrets=sluice-nats-users create,get,update",
	},
}

// Rows 6 and 16 of the list of others' bugs: the API server is asked about every account, verb, resource and place, and allows what is
// listed and nothing else.
func TestAccountsMayDoWhatIsListedAndNoMore(t *testing.T) {
	p := plane(t)
	space, other := installAccounts(t, p), p.namespace(t, "other")
	questions := p.questions(t, space, other)
	if len(questions) < 1000 {
		t.Fatalf("only %d questions: the discovery is broken", len(questions))
	}
	for account, want := range allowed {
		t.Run(account, func(t *testing.T) {
			want = slices.Concat(want, forAll)
			slices.Sort(want)
			// What is asked with a name is allowed for every name where it is allowed without: only the difference is listed.
			got := p.answers(t, space, account, questions)
			for _, line := range missing(want, got) {
				t.Errorf("it may not: %s", line)
			}
			for _, line := range missing(got, want) {
				t.Errorf("it may, and is not listed: %s", line)
			}
		})
	}
}

// installAccounts makes the objects of the chart, also those of its hooks, in a namespace.
func installAccounts(t *testing.T, p *controlPlane) (space string) {
	t.Helper()
	space = p.namespace(t, "rights")
	p.createAll(t, render(t, "--namespace", space), metav1.CreateOptions{})
	requireAllListed(t, p, space)
	return space
}

// requireAllListed requires that no account of the namespace is without a list.
func requireAllListed(t *testing.T, p *controlPlane, space string) {
	t.Helper()
	accounts, err := p.CoreV1().ServiceAccounts(space).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, account := range accounts.Items {
		have[account.Name] = true
		if _, listed := allowed[account.Name]; !listed {
			t.Errorf("account %s is not in the list of this test", account.Name)
		}
	}
	for account := range allowed {
		if !have[account] {
			t.Errorf("the chart has no account %s", account)
		}
	}
}

func missing(from, in []string) []string {
	return slices.DeleteFunc(slices.Clone(from), func(line string) bool { return slices.Contains(in, line) })
}

// question is one for the API server.
type question struct {
	place string
	authorizationv1.ResourceAttributes
}

// topic is the part of a line before the verbs.
func (q question) topic() string {
	text := q.place + " "
	if q.Group != "" {
		text += q.Group + "/"
	}
	text += q.Resource
	if q.Subresource != "" {
		text += "/" + q.Subresource
	}
	if q.Name != "" {
		text += "=" + q.Name
	}
	return text
}

// verbs are those of requests. ruleVerbs are the others that a rule can have (Kubernetes documentation, "Using RBAC Authorization" and
// "Certificate Signing Requests"); they mean something for few resources, and TestRulesAreThoseListed finds them on every one.
var (
	verbs     = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	ruleVerbs = []string{"*", "approve", "attest", "bind", "escalate", "impersonate", "sign"}
)

// withRuleVerbs are resources for which ruleVerbs mean something.
var withRuleVerbs = []string{"roles", "clusterroles", "serviceaccounts", "users", "groups", "uids", "userextras", "signers", "certificatesigningrequests", "*"}

// virtual are resources that no discovery shows, with their groups.
var virtual = map[string]string{
	"users": "", "groups": "", "userextras/scopes": "authentication.k8s.io", "uids": "authentication.k8s.io", "signers": "certificates.k8s.io", "*": "*",
}

// named are objects to which a rule might be limited.
var named = map[string][]string{
	"secrets": {"sluice-nats-users", "another"}, "leases": {"sluice-scaler", "sluice-jobrunner", "another"}, "configmaps": {"sluice-nats"},
	"deployments": {"sluice-scaler"}, "statefulsets": {"sluice-nats"}, "serviceaccounts": {"sluice-scaler", "sluice-jobrunner"}, "jobs": {"sluice-credentials"},
}

// questions are about all resources that the API server knows.
func (p *controlPlane) questions(t *testing.T, space, other string) []question {
	t.Helper()
	_, lists, err := p.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var all []question
	for _, list := range lists {
		group, _, hasGroup := strings.Cut(list.GroupVersion, "/")
		if !hasGroup {
			group = ""
		}
		for _, resource := range list.APIResources {
			all = append(all, askAbout(group, resource.Name, resource.Namespaced, space, other)...)
		}
	}
	for name, group := range virtual {
		all = append(all, askAbout(group, name, false, space, other)...)
	}
	return all
}

func askAbout(group, name string, namespaced bool, space, other string) []question {
	resource, subresource, _ := strings.Cut(name, "/")
	places := map[string]string{anywhere: ""}
	if namespaced {
		places[here], places[there] = space, other
	}
	var all []question
	for place, at := range places {
		for _, objectName := range append([]string{""}, named[resource]...) {
			for _, verb := range verbsOf(resource) {
				all = append(all, question{place, authorizationv1.ResourceAttributes{
					Namespace: at, Verb: verb, Group: group, Resource: resource, Subresource: subresource, Name: objectName,
				}})
			}
		}
	}
	return all
}

func verbsOf(resource string) []string {
	if slices.Contains(withRuleVerbs, resource) {
		return slices.Concat(verbs, ruleVerbs)
	}
	return verbs
}

// answers returns a line for each resource and place at which something is allowed. A line with a name is left out if it says what
// the one without does.
func (p *controlPlane) answers(t *testing.T, space, account string, questions []question) []string {
	t.Helper()
	may := map[string][]string{}
	var mu sync.Mutex // guards may
	const askers = 8
	ask := make(chan question)
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for q := range ask {
				yes, err := p.may(t.Context(), space, account, q)
				if err != nil {
					t.Error(err)
				}
				if yes {
					mu.Lock()
					may[q.topic()] = append(may[q.topic()], q.Verb)
					mu.Unlock()
				}
			}
		})
	}
	for _, q := range questions {
		ask <- q
	}
	close(ask)
	all.Wait()
	return asLines(may)
}

func asLines(may map[string][]string) []string {
	var lines []string
	for _, topic := range slices.Sorted(maps.Keys(may)) {
		slices.Sort(may[topic])
		verbs := strings.Join(slices.Compact(may[topic]), ",")
		general, _, isNamed := strings.Cut(topic, "=")
		if isNamed {
			slices.Sort(may[general])
			if strings.Join(slices.Compact(may[general]), ",") == verbs {
				continue
			}
		}
		lines = append(lines, topic+" "+verbs)
	}
	return lines
}

// may asks the API server whether the account may do it.
func (p *controlPlane) may(ctx context.Context, space, account string, q question) (bool, error) {
	attributes := q.ResourceAttributes
	review, err := p.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   fmt.Sprintf("system:serviceaccount:%s:%s", space, account),
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + space, "system:authenticated"}, ResourceAttributes: &attributes,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask whether %s may %s %s: %w", account, q.Verb, q.topic(), err)
	}
	return review.Status.Allowed, nil
}
