package deploy

import "strings"

// sortOut says of each operation of a failed run whether it was done, failed, or never begun.
func (r *Report) sortOut(made *plan, m marks, cause error) {
	for _, op := range made.operations {
		verb, waiting := leftover(op, m)
		switch {
		case verb == "":
			r.CompletedOperations = append(r.CompletedOperations, op.String())
			if waiting != "" {
				say("%s is not ready: %s", op.name, waiting)
				r.FailedOperations = append(r.FailedOperations, "track readiness: "+op.name)
			}
		case op.isBlamedBy(cause):
			r.FailedOperations = append(r.FailedOperations, op.String())
		default:
			r.CanceledOperations = append(r.CanceledOperations, op.String())
		}
	}
	if len(r.FailedOperations) == 0 && len(r.CanceledOperations) > 0 {
		r.FailedOperations, r.CanceledOperations = r.CanceledOperations[:1], r.CanceledOperations[1:]
	}
}

func (o operation) isBlamedBy(cause error) bool {
	_, name, _ := strings.Cut(o.name, "/")
	text := cause.Error()
	return strings.Contains(text, "/"+name+" ") || strings.Contains(text, `"`+name+`"`)
}

// leftover compares once more: what is still to be done, and why it is not ready if it is done.
func leftover(op operation, m marks) (verb, waiting string) {
	if op.info == nil {
		return op.verb, ""
	}
	if op.verb == "Delete" {
		if op.info.Get() == nil {
			return "Delete", ""
		}
		return "", ""
	}
	verb, err := compare(op.info, m)
	if err != nil {
		return op.verb, ""
	}
	if verb == "" {
		if now := look(op.info); !now.ready {
			waiting = now.message
		}
	}
	return verb, waiting
}
