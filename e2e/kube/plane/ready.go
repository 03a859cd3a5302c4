package plane

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/e2e/kube/await"
)

// A controller makes the ServiceAccount "default" in every namespace. Deleted in a namespace that nobody uses, it comes
// back only from a controller-manager that works now: one from before a restart proves nothing.
const (
	proofNamespace = metav1.NamespacePublic
	proofName      = "default"
)

func (p *Plane) awaitAPI(ctx context.Context) error {
	return await.Until(ctx, "the API server's /readyz", startLimit, func(ctx context.Context) error {
		answer, err := p.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("%w %s", err, answer)
		}
		return nil
	})
}

// forgetProof deletes the ServiceAccount that awaitControllers looks for.
func (p *Plane) forgetProof(ctx context.Context) error {
	err := p.client.CoreV1().ServiceAccounts(proofNamespace).Delete(ctx, proofName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete an old ServiceAccount: %w", err)
	}
	return nil
}

// awaitControllers waits for that ServiceAccount, and for the one without which no pod can be created in "default".
func (p *Plane) awaitControllers(ctx context.Context) error {
	return await.Until(ctx, "the controller-manager's first work", startLimit, func(ctx context.Context) error {
		for _, namespace := range []string{proofNamespace, metav1.NamespaceDefault} {
			if _, err := p.client.CoreV1().ServiceAccounts(namespace).Get(ctx, proofName, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}
