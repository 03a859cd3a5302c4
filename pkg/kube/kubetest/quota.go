package kubetest

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limit puts a quota named few on the namespace: so many of a resource, such as pods or count/jobs.batch. It returns when the API server holds it; lift takes it away.
func (n *Namespace) Limit(what corev1.ResourceName, count string) (lift func()) {
	n.T.Helper()
	const sentinel = "count/configmaps" // none may be made, which shows that the quota is in force
	quotas := n.Admin.CoreV1().ResourceQuotas(n.Name)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		what: resource.MustParse(count), sentinel: resource.MustParse("0"),
	}}}
	if _, err := quotas.Create(n.T.Context(), quota, metav1.CreateOptions{}); err != nil {
		n.T.Fatal(err)
	}
	n.Eventually("the quota is in force", func() bool {
		probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
		_, err := n.Admin.CoreV1().ConfigMaps(n.Name).Create(n.T.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "exceeded quota: few")
	})
	return func() {
		if err := quotas.Delete(n.T.Context(), "few", metav1.DeleteOptions{}); err != nil {
			n.T.Fatal(err)
		}
	}
}
