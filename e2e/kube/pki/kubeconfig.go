package pki

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig issues a client certificate for the identity and writes a kubeconfig file that holds all that is
// needed to reach the server, an https URL, with it.
func (a *Authority) WriteKubeconfig(path, server string, identity Identity) error {
	if err := a.Issue(identity); err != nil {
		return err
	}
	user := api.NewAuthInfo()
	cluster := api.NewCluster()
	cluster.Server = server
	for _, part := range []struct {
		file string
		into *[]byte
	}{
		{a.CAFile(), &cluster.CertificateAuthorityData},
		{a.CertFile(identity.File), &user.ClientCertificateData},
		{a.KeyFile(identity.File), &user.ClientKeyData},
	} {
		text, err := os.ReadFile(part.file)
		if err != nil {
			return fmt.Errorf("read %s: %w", part.file, err)
		}
		*part.into = text
	}
	const name = "sluice-test"
	config := api.NewConfig()
	config.Clusters[name] = cluster
	config.AuthInfos[name] = user
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
