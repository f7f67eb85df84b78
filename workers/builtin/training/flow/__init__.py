"""How the flow-matching model, `shapes-flow`, is trained."""
