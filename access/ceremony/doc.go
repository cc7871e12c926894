// Package ceremony is dual control: a reviewed plan, approved by signatures of other officers over exactly that plan, carried out once.
//
// Its one promise: no act of the table below happens unless a plan that names it was approved by as many persons as the table demands, none
// of them the one who asked, and everything that was decided and done stands in the log, from where a transcript proves it without the
// appliance.
//
//	Draft ──► Approve (m persons) ──► Execute: intent ─► per step { prepare ─► ONE commit ─► effects outside the store } ─► finished
//
// A crash anywhere leaves a state from which Execute, asked again, goes on: what a step changes in the store is in one commit with the
// ceremony's own state, and what it changes elsewhere may be done twice.
//
// Limits: it knows no keys and no tokens; the acts are given by whoever builds the appliance.
package ceremony

import "errors"

var (
	// ErrPlan: the plan is not one: an unknown key, a value out of form, an action that nobody knows, a field that the action does not take.
	ErrPlan = errors.New("not a ceremony plan")
	// ErrForeign: the plan is for another appliance.
	ErrForeign = errors.New("the plan is for another appliance")
	// ErrExists: this very plan was handed in before.
	ErrExists = errors.New("this plan was handed in already")
	// ErrRole: the officer's role may not ask for, or may not approve, this action.
	ErrRole = errors.New("not for an officer of this role")
	// ErrOwnRequest: whoever asked for a ceremony does not approve it.
	ErrOwnRequest = errors.New("whoever asks for a ceremony does not approve it")
	// ErrTwice: this person has approved already.
	ErrTwice = errors.New("this person has approved already")
	// ErrApproval: the approval's signature is not the officer's over exactly this plan.
	ErrApproval = errors.New("the approval is not this officer's signature over exactly this plan")
	// ErrExpired: the plan's time, or that of an approval, is over.
	ErrExpired = errors.New("the time of the plan or of an approval is over")
	// ErrTooFew: there are not enough approvals that count now.
	ErrTooFew = errors.New("too few approvals")
	// ErrExecuted: the plan was carried out before; it never is again.
	ErrExecuted = errors.New("the ceremony was carried out already")
	// ErrAbandoned: the ceremony was given up.
	ErrAbandoned = errors.New("the ceremony was given up")
	// ErrBegun: what has begun takes no further approvals.
	ErrBegun = errors.New("the ceremony has begun")
	// ErrAltered: the plan on file is not the one that was approved.
	ErrAltered = errors.New("the plan on file is not the one that was approved")
	// ErrNoAct: this appliance cannot carry the action out.
	ErrNoAct = errors.New("this appliance cannot carry out the action")
	// ErrRefused: the act cannot be done as the plan says; the reason is wrapped around it.
	ErrRefused = errors.New("the step cannot be carried out as planned")
	// ErrTranscript: the transcript does not prove what it says.
	ErrTranscript = errors.New("the transcript does not hold")
)
