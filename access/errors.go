package access

import "errors"

// Errors of the Directory. A body that breaks a rule is an *InvalidError, which
// is a secrets.ErrInvalid; a record or set that was changed in Redis is a
// secrets.ErrSealBroken; everything else is the network's.
var (
	// ErrPolicyNotFound says that no policy has this id.
	ErrPolicyNotFound = errors.New("access: no such policy")
	// ErrAnalysisNotFound says that no analysis has this id.
	ErrAnalysisNotFound = errors.New("access: no such analysis")
	// ErrNoAnalysisToken says that a token belongs to no analysis.
	ErrNoAnalysisToken = errors.New("access: no token of an analysis")
	// ErrInactive says that the analysis is switched off: it gets no environment.
	ErrInactive = errors.New("access: the analysis is not active")
	// ErrLimit says that there are as many policies or analyses as there may be.
	ErrLimit = errors.New("access: limit reached")
	// ErrProtected says that a tag forbids the deletion; its value says why.
	ErrProtected = errors.New("access: protected from deletion by a tag")
)
