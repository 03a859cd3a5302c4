package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// rules are all that the API server has for each account in the release's namespace, as its RBAC says it: resource, name of the object if the rule
// is limited to it, verbs.
var rules = map[string][]string{
	"default":           {},
	"sluice-gateway":    {},
	"sluice-dispatcher": {},
	"sluice-nats":       {},
	"sluice-scaler": {
		"pods list,watch,patch",
		"services list,watch",
		"events create",
		"apps/deployments list,watch",
		"apps/deployments/scale get,update",
		"apps/replicasets list,watch",
		"apps/statefulsets list,watch",
		"apps/statefulsets/scale get,update",
		"coordination.k8s.io/leases create",
		"coordination.k8s.io/leases=sluice-scaler get,update",
	},
	"sluice-jobrunner": {
		"pods list,watch",
		"pods/log get",
		"events list,watch,create",
		"apps/deployments list,watch",
		"apps/statefulsets list,watch",
		"batch/cronjobs list,watch",
		"batch/jobs get,list,watch,create,patch,delete",
		"coordination.k8s.io/leases create",
		"coordination.k8s.io/leases=sluice-jobrunner get,update",
	},
	"sluice-credentials": {
		"secrets create",
		"secrets=sluice-nats-users get,update",
	},
}

// rulesForAll are those of every account.
var rulesForAll = []string{
	"authentication.k8s.io/selfsubjectreviews create",
	"authorization.k8s.io/selfsubjectaccessreviews create",
	"authorization.k8s.io/selfsubjectrulesreviews create",
}

// Each account, asking for itself, is told the rules that are listed and no other, also such as no request would show: other verbs, other names
// of objects, paths that are no resources.
func TestRulesAreThoseListed(t *testing.T) {
	p := plane(t)
	space := installAccounts(t, p)
	nobody := p.ownRules(t, space, "an-account-that-does-not-exist")
	for account, listed := range rules {
		own := p.ownRules(t, space, account)
		var got []string
		for _, rule := range own.ResourceRules {
			got = append(got, flatten(rule)...)
		}
		want := slices.Concat(listed, rulesForAll)
		for _, line := range missing(want, got) {
			t.Errorf("%s: no rule %s", account, line)
		}
		for _, line := range missing(got, want) {
			t.Errorf("%s: a rule that is not listed: %s", account, line)
		}
		if have, others := paths(own), paths(nobody); !slices.Equal(have, others) {
			t.Errorf("%s: paths %v, others' %v", account, have, others)
		}
	}
}

// ownRules asks as the account.
func (p *controlPlane) ownRules(t *testing.T, space, account string) authorizationv1.SubjectRulesReviewStatus {
	t.Helper()
	review, err := p.as(t, space, account).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: space},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status
}

// as is the API as a service account sees it.
func (p *controlPlane) as(t *testing.T, space, account string) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(p.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: fmt.Sprintf("system:serviceaccount:%s:%s", space, account),
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + space, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// paths are those of the API server that are no resources, with what may be done.
func paths(status authorizationv1.SubjectRulesReviewStatus) []string {
	var lines []string
	for _, rule := range status.NonResourceRules {
		for _, path := range rule.NonResourceURLs {
			lines = append(lines, path+" "+strings.Join(rule.Verbs, ","))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// flatten is a line for each resource of a rule and each name that it is limited to.
func flatten(rule authorizationv1.ResourceRule) []string {
	var lines []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			topic := strings.TrimPrefix(group+"/"+resource, "/")
			verbs := strings.Join(rule.Verbs, ",")
			if len(rule.ResourceNames) == 0 {
				lines = append(lines, topic+" "+verbs)
			}
			for _, name := range rule.ResourceNames {
				lines = append(lines, topic+"="+name+" "+verbs)
			}
		}
	}
	return lines
}
