"""What several folders of tests share; what one uses stands beside its tests."""
