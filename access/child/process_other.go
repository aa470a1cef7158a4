//go:build !linux

package child

import "context"

// Run returns ErrSystem.
func (c *Command) Run(context.Context) (End, error) { return End{}, ErrSystem }
