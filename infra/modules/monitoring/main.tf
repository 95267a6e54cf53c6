resource "azurerm_log_analytics_workspace" "this" {
  count               = var.has_diagnostics ? 1 : 0
  name                = "log-${var.prefix}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  sku                 = "PerGB2018"
  retention_in_days   = 30
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  for_each                   = var.has_diagnostics ? var.watched : {}
  name                       = "to-log-analytics"
  target_resource_id         = each.value.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this[0].id
  dynamic "enabled_log" {
    for_each = each.value.logs
    content {
      category = enabled_log.value
    }
  }
}

resource "azurerm_consumption_budget_resource_group" "this" {
  count             = var.budget.amount > 0 ? 1 : 0
  name              = "budget-${var.prefix}"
  resource_group_id = var.resource_group_id
  amount            = var.budget.amount
  time_grain        = "Monthly"
  time_period {
    start_date = var.budget.start
  }
  dynamic "notification" {
    for_each = [80, 100]
    content {
      threshold      = notification.value
      operator       = "GreaterThanOrEqualTo"
      contact_emails = var.budget.emails
    }
  }
}
