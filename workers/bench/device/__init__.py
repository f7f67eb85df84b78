"""What a device, a GPU as a rule, does with a published model: its passes, its peak, and ways to make pictures."""
