//! The commands of the Go operator's guides, typed in the order a person would need them, and what each
//! shows here. `docs/differences-from-the-guides.md` says why some show something else; the commands
//! that are about tools or things outside the cluster are listed there, too.

use serde_json::json;
use testbed::operator::NAMESPACE;

use crate::tenant::in_namespace;
use crate::turn::MY_APP;

mod person;

use person::Person;

const DESCRIBE: &str = "kubectl describe werfbundle my-app -n $NS";

/// The guide's account with all rights in its namespace.
fn account() -> String {
    let (api, namespace) = ("rbac.authorization.k8s.io", "production");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount",
         "metadata": {"name": "werf-converge", "namespace": namespace}},
        {"apiVersion": format!("{api}/v1"), "kind": "Role",
         "metadata": {"name": "werf-converge", "namespace": namespace},
         "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
        {"apiVersion": format!("{api}/v1"), "kind": "RoleBinding",
         "metadata": {"name": "werf-converge", "namespace": namespace},
         "roleRef": {"apiGroup": api, "kind": "Role", "name": "werf-converge"},
         "subjects": [
             {"kind": "ServiceAccount", "name": "werf-converge", "namespace": namespace}]},
    ]})
    .to_string()
}

fn config(name: &str, namespace: &str, replicas: u8) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"config.yaml": format!("replicas: {replicas}\nmessage: \"from-{name}\"\n")}})
    .to_string()
}

#[tokio::test]
async fn the_commands_of_the_guides_show_what_they_say() -> anyhow::Result<()> {
    in_namespace("guides", async |tenant| {
        let _mine = MY_APP.lock().await;
        let person = Person { tenant };
        tenant.publish("v1.0.0").await?;
        quick_start(&person).await?;
        looking_around(&person).await?;
        values(&person).await?;
        jobs(&person).await?;
        rights(&person).await?;
        failing_polls(&person).await?;
        leaving(&person).await
    })
    .await
}

/// README: install, create, check.
async fn quick_start(person: &Person<'_>) -> anyhow::Result<()> {
    let pods = ["werf-operator-poller", "werf-operator-executor", "Running"];
    person.sees("kubectl get pods -n $NS", &pods).await?;
    let crds = "kubectl get crds | grep werfbundle";
    person.sees(crds, &["werfbundles.werf.io"]).await?;

    // Other tests may have made it before.
    person.types("kubectl create namespace production").await?;
    person
        .types("kubectl create serviceaccount werf-converge -n production")
        .await?;
    person.applies(&account()).await?;
    let mut spec = person.tenant.spec(json!({}));
    spec["registry"]["pollInterval"] = "15m".into();
    let bundle = json!({"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
        "metadata": {"name": "my-app", "namespace": NAMESPACE}, "spec": spec});
    person.applies(&bundle.to_string()).await?;

    // As the Quick Start has it, the account is elsewhere.
    let missing = "ServiceAccount werf-converge does not exist in namespace";
    person
        .sees(DESCRIBE, &["Phase:", "Failed", missing, NAMESPACE])
        .await?;
    let sa = "kubectl get sa werf-converge -n $NS";
    person.is_refused(sa, &["NotFound"]).await?;
    let sa = "kubectl get sa werf-converge -n production";
    person.sees(sa, &["werf-converge"]).await?;
    let elsewhere = r#"{"spec":{"converge":{"targetNamespace":"production"}}}"#;
    person.patches(elsewhere).await?;
    let patch = r#"{"spec":{"converge":{"serviceAccountName":"werf-converge"}}}"#;
    person.patches(patch).await?;
    person.reads(".status.phase", "Synced").await?;
    person
        .sees("kubectl get werfbundle -A", &["my-app", "Synced", "v1.0.0"])
        .await?;
    let logs = "kubectl logs -n $NS -l control-plane=controller-manager";
    person.does(&[logs]).await?;
    // Followed until the person has seen enough.
    let followed =
        "timeout 5 kubectl logs -f -n $NS -l control-plane=controller-manager || [ $? = 124 ]";
    person.sees(followed, &[r#""level":"INFO""#]).await?;
    let checked =
        "kubectl get werfbundle my-app -o yaml -n $NS | kubectl apply --dry-run=client -f -";
    person.sees(checked, &["my-app", "(dry run)"]).await?;
    Ok(())
}

/// Fields, phases, intervals, `ETags`.
async fn looking_around(person: &Person<'_>) -> anyhow::Result<()> {
    let fields = [
        "Phase:",
        "Last Applied Tag:",
        "v1.0.0",
        "Consecutive Failures:",
        "Last Job Status:",
        "Succeeded",
        "Last Job Logs:",
        "Last Sync Time:",
    ];
    person.sees(DESCRIBE, &fields).await?;
    let url = "kubectl get werfbundle my-app -o jsonpath='{.spec.registry.url}' -n $NS";
    person.sees(url, &["/tenants/guides-"]).await?;
    person.reads(".spec.registry.pollInterval", "15m").await?;
    person
        .patches(r#"{"spec":{"registry":{"pollInterval":"30m"}}}"#)
        .await?;
    person.reads(".spec.registry.pollInterval", "30m").await?;
    // The registry sends none, and it is said where the guide says that it is said.
    person.reads(".status.lastETag", "").await?;
    person
        .sees(DESCRIBE, &["ETag support not detected"])
        .await?;

    let password = format!("{:032x}", rand::random::<u128>());
    let secret = format!(
        "kubectl create secret docker-registry registry-creds -n $NS --docker-server=registry.example.com --docker-username=user --docker-password={password} --dry-run=client -o yaml | kubectl apply -f -"
    );
    person.does(&[&secret]).await?;
    let decoded = r"kubectl get secret registry-creds -n $NS -o jsonpath='{.data.\.dockerconfigjson}' | base64 -d";
    person.sees(decoded, &["registry.example.com"]).await?;
    let top = "kubectl get pods -n $NS -l control-plane=controller-manager -o name | head -1 | xargs kubectl describe -n $NS";
    person.sees(top, &["Containers:"]).await?;
    Ok(())
}

/// valuesFrom: missing, malformed, in the wrong place, in the right one, optional.
async fn values(person: &Person<'_>) -> anyhow::Result<()> {
    let source = r#"{"spec":{"converge":{"valuesFrom":[{"configMapRef":{"name":"app-config"}}]}}}"#;
    person.patches(source).await?;
    let missing =
        format!("configMap 'app-config' not found in namespaces '{NAMESPACE}' or 'production'");
    person.reads(".status.lastErrorMessage", &missing).await?;
    person.reads(".status.phase", "Failed").await?;
    for namespace in ["$NS", "production"] {
        let get = format!("kubectl get configmap app-config -n {namespace}");
        person.is_refused(&get, &["NotFound"]).await?;
    }
    person.reads(".metadata.namespace", NAMESPACE).await?;
    person
        .reads(".spec.converge.targetNamespace", "production")
        .await?;
    person
        .reads(".spec.converge.serviceAccountName", "werf-converge")
        .await?;

    // What the guide creates is a ConfigMap whose one document is the word `value`: no map.
    let literal = "kubectl create configmap app-config --from-literal=key=value -n production";
    person.does(&[literal]).await?;
    let refused = "ConfigMap 'app-config' key 'key' line 1: the root must be a map";
    person.reads(".status.lastErrorMessage", refused).await?;

    // The bundle's namespace goes first.
    person.applies(&config("app-config", NAMESPACE, 2)).await?;
    person.reads(".status.phase", "Synced").await?;
    let yaml = r"kubectl get configmap app-config -n $NS -o jsonpath='{.data.config\.yaml}'";
    person.sees(yaml, &["replicas: 2"]).await?;
    let sources = "kubectl get werfbundle my-app -o yaml -n $NS | grep -A 10 valuesFrom";
    person.sees(sources, &["name: app-config"]).await?;
    let names = ".spec.converge.valuesFrom[*].configMapRef.name";
    person.reads(names, "app-config").await?;
    person
        .reads(".spec.converge.valuesFrom[*].secretRef.name", "")
        .await?;

    let optional = r#"{"spec":{"converge":{"valuesFrom":[{"configMapRef":{"name":"app-config"}},{"configMapRef":{"name":"env-overrides"},"optional":true}]}}}"#;
    person.patches(optional).await?;
    let observed = "kubectl wait --for=condition=Ready werfbundle/my-app -n $NS --timeout=60s";
    person.sees(observed, &["condition met"]).await?;

    // What is malformed is refused before it is stored.
    for bad in [
        r#"{"configMapRef":{"name":""}}"#,
        "{}",
        r#"{"optional":true}"#,
    ] {
        let patch = format!(
            r#"kubectl patch werfbundle my-app -n $NS --type merge -p '{{"spec":{{"converge":{{"valuesFrom":[{bad}]}}}}}}'"#
        );
        person
            .is_refused(&patch, &["spec.converge.valuesFrom[0]"])
            .await?;
    }
    Ok(())
}

/// Jobs, Pods, logs and arguments, in the namespace that is deployed into.
async fn jobs(person: &Person<'_>) -> anyhow::Result<()> {
    person
        .reads(".status.resolvedTargetNamespace", "production")
        .await?;
    let elsewhere = "kubectl get job -n $NS -l app.kubernetes.io/instance=my-app";
    person.sees(elsewhere, &["No resources found"]).await?;
    let jobs = "kubectl get job -n production -l app.kubernetes.io/instance=my-app";
    person
        .sees(&format!("{jobs} -o wide"), &["Complete", "werf"])
        .await?;
    let pods = "kubectl get pods -n production -l app.kubernetes.io/instance=my-app";
    person.sees(pods, &["Completed"]).await?;
    // As the Job of a suspended or finished bundle is looked up: the newest one.
    person.reads(".status.activeJobName", "").await?;
    let newest = "JOB_NAME=$(kubectl get jobs -n production -l app.kubernetes.io/instance=my-app --sort-by=.metadata.creationTimestamp -o jsonpath='{.items[-1].metadata.name}')";
    let pod = "POD_NAME=$(kubectl get pods -n production -l job-name=$JOB_NAME -o jsonpath='{.items[0].metadata.name}')";
    let with = |command: &str| format!("{newest}; {pod}; {command}");
    for (command, expected) in [
        (
            "kubectl describe job $JOB_NAME -n production",
            "werf.io/tag=v1.0.0",
        ),
        (
            "kubectl logs $POD_NAME -n production --tail=200",
            "release \"my-app\"",
        ),
        (
            "kubectl logs -f $POD_NAME -n production",
            "release \"my-app\"",
        ),
        (
            "kubectl logs job/$JOB_NAME -n production",
            "release \"my-app\"",
        ),
        (
            "kubectl logs $POD_NAME -n production -c werf",
            "release \"my-app\"",
        ),
        (
            "kubectl get job $JOB_NAME -o yaml -n production | grep -A 30 'args:'",
            "--set=replicas=2",
        ),
        (
            "kubectl get job $JOB_NAME -n production -o yaml | grep -A 30 'args:' | grep set",
            "--set-string=message=from-app-config",
        ),
        (
            "kubectl describe pod $POD_NAME -n production | grep -A 20 Containers",
            "werf:",
        ),
        ("kubectl describe pod $POD_NAME -n production", "Completed"),
    ] {
        person.sees(&with(command), &[expected]).await?;
    }
    let previous = with("kubectl logs $POD_NAME -n production -c werf --previous");
    person
        .is_refused(&previous, &["previous terminated container"])
        .await?;

    let memory = r#"{"spec":{"converge":{"resourceLimits":{"memory":"2Gi"}}}}"#;
    person.patches(memory).await?;
    let limits = with(
        "kubectl get job $JOB_NAME -n production -o jsonpath='{..limits.memory} {..requests.memory}'",
    );
    person.sees(&limits, &["2Gi 2Gi"]).await?;
    person.reads(".status.phase", "Synced").await
}

/// What the tenant's account and the operator may do.
async fn rights(person: &Person<'_>) -> anyhow::Result<()> {
    person
        .does(&["kubectl get serviceaccount werf-converge -n production"])
        .await?;
    for kind in ["deployments", "services", "configmaps"] {
        let can = format!(
            "kubectl auth can-i create {kind} --as=system:serviceaccount:production:werf-converge -n production"
        );
        person.sees(&can, &["yes"]).await?;
    }
    let role = r#"kubectl get clusterrole werf-operator -o yaml | grep -A 5 "configmaps\|secrets""#;
    let role = person
        .sees(role, &["configmaps", "secrets", "- get"])
        .await?;
    assert!(!role.contains("- list"), "{role}");
    let lists =
        "kubectl auth can-i list secrets --as=system:serviceaccount:$NS:werf-operator-executor -A";
    person.is_refused(lists, &["no"]).await?;
    Ok(())
}

/// Counting failures, and starting over.
async fn failing_polls(person: &Person<'_>) -> anyhow::Result<()> {
    let url = person
        .types("kubectl get werfbundle my-app -o jsonpath='{.spec.registry.url}' -n $NS")
        .await?
        .text;
    person
        .patches(&format!(
            r#"{{"spec":{{"registry":{{"url":"{url}-absent"}}}}}}"#
        ))
        .await?;
    let message = format!("error polling registry: {url}-absent: 404 not found");
    person.reads(".status.lastErrorMessage", &message).await?;
    let counted = "kubectl get werfbundle my-app -o jsonpath='{.status.consecutiveFailures},{.status.lastErrorTime}' -n $NS";
    person.sees(counted, &["1,20"]).await?;
    let logs = "kubectl logs -n $NS -l control-plane=controller-manager --tail=-1 --prefix | grep 'polling registry'";
    person.sees(logs, &["my-app", "404 not found"]).await?;

    // A plain patch loses the status on its way; with the subresource the poll is made at once.
    let plain = r#"kubectl patch werfbundle my-app -n $NS --type merge -p '{"status":{"consecutiveFailures":0}}'"#;
    person.sees(plain, &["patched (no change)"]).await?;
    let edit = "kubectl edit werfbundle my-app -n $NS";
    person.sees(edit, &["no changes made"]).await?;
    let polled = person.types(counted).await?.text;
    let reset = format!("{plain} --subresource=status");
    person.sees(&reset, &["my-app patched"]).await?;
    person
        .tenant
        .eventually("it is polled again", async || {
            let now = person.types(counted).await?.text;
            // A report that was on its way may have counted on.
            if !now.starts_with("0,") && !now.starts_with("1,") {
                person.types(&reset).await?;
            }
            Ok(now.starts_with("1,") && now != polled)
        })
        .await?;
    person
        .patches(&format!(r#"{{"spec":{{"registry":{{"url":"{url}"}}}}}}"#))
        .await?;
    person.reads(".status.consecutiveFailures", "0").await?;
    person.reads(".status.phase", "Synced").await?;

    // The image has nothing but the two programs.
    let exec = "POD=$(kubectl get pods -n $NS -l control-plane=controller-manager -o name | head -1); kubectl exec $POD -n $NS -- curl -v https://ghcr.io/v2/";
    person.is_refused(exec, &["not found"]).await?;
    Ok(())
}

/// Delete, as the guide's third way to start over.
async fn leaving(person: &Person<'_>) -> anyhow::Result<()> {
    let delete = "kubectl delete werfbundle my-app -n $NS";
    person.sees(delete, &["deleted"]).await?;
    let jobs = "kubectl get job -n production -l app.kubernetes.io/instance=my-app";
    person.sees(jobs, &["No resources found"]).await?;
    // Whoever is next may need the namespace, and cannot have it while it goes.
    person
        .does(&["kubectl delete configmap app-config -n $NS; kubectl delete secret registry-creds -n $NS; kubectl delete namespace production --timeout=150s"])
        .await
}
