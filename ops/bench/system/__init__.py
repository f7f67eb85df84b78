"""What the whole system makes of its workers."""
