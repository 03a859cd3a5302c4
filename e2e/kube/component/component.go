// Package component links the programs that a cluster consists of into this binary: etcd and the components of
// Kubernetes. The supervisor starts each as a child process of the same executable, with the component's name as the
// first argument. It is the only package that imports them, so that all others build and test in seconds.
package component

import (
	"context"
	"os"
	_ "time/tzdata" // CronJobs name time zones, and a machine may have no database of them

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Run is the component that os.Args[1] names, with the arguments that follow. It returns the exit code of the
// process when the component has ended, and false when there is no component of that name.
func Run() (int, bool) {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	if name == "etcd" {
		return runEtcd(os.Args[2:]), true
	}
	command := kubernetes(name)
	if command == nil {
		return 0, false
	}
	// Each component parses os.Args by itself, as if it were the only program in this binary.
	os.Args = os.Args[1:]
	return cli.Run(command), true
}

func kubernetes(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	}
	return nil
}
